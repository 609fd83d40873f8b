#include "common/focal_loss.h"

#include <limits>
#include <vector>

#include "common/dispatch.h"
#include "cpu/fresh_memory.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// Factor of a row by the class of its target; null: none.
template <typename T>
acc_t<T> factor_of(const T* of_class, int64_t label, int64_t classes) {
  const bool known = of_class && label >= 0 && label < classes;
  return known ? static_cast<acc_t<T>>(of_class[label]) : 1;
}

void check_sizes(const Tensor& input, const Tensor& target, const std::optional<Tensor>& weight) {
  STD_TORCH_CHECK(input.dim() == 2 && target.numel() == input.size(0) &&
                      (!weight || weight->numel() == input.size(1)),
                  "focal loss needs input (N, C), target (N,) and weight (C,)");
}

// out[i] = f(i, sign, share of the entry) for every entry (row, class): sign is -1 for negatives.
template <typename T, typename F>
void for_each_entry(const Tensor& input, const Tensor& target, const std::optional<Tensor>& weight,
                    double alpha, T* out, const F& f) {
  using A = acc_t<T>;
  check_sizes(input, target, weight);
  const Tensor labels = contiguous(target);
  const std::optional<Tensor> weights = contiguous(weight);
  const int64_t* label = labels.const_data_ptr<int64_t>();
  const T* of_class = data_or_null<T>(weights);
  const int64_t classes = input.size(1);
  parallel_rows(input.size(0), 4 * classes, [=, &f](int64_t row) {
    const A scale = factor_of(of_class, label[row], classes);
    const A share = scale * static_cast<A>(1 - alpha);
    // All as negatives, without a branch; then the one that is positive.
    for (int64_t i = row * classes; i < (row + 1) * classes; ++i) {
      out[i] = static_cast<T>(f(i, A(-1), share));
    }
    if (label[row] >= 0 && label[row] < classes) {
      const int64_t i = row * classes + label[row];
      out[i] = static_cast<T>(f(i, A(1), scale * static_cast<A>(alpha)));
    }
  });
}

Tensor sigmoid_focal_loss(const Tensor& input, const Tensor& target,
                          const std::optional<Tensor>& weight, double gamma, double alpha) {
  const Tensor contiguous_input = contiguous(input);
  const Tensor loss = in_huge_pages(torch::stable::empty_like(contiguous_input));
  dispatch_floating(input, "sigmoid_focal_loss", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const T* x = contiguous_input.const_data_ptr<T>();
    dispatch_gamma(gamma, [&](auto whole) {
      for_each_entry<T>(input, target, weight, alpha, loss.mutable_data_ptr<T>(),
                        [=](int64_t i, A sign, A share) {
                          const A z = sign * static_cast<A>(x[i]);
                          return share * focal_loss<whole.value>(z, static_cast<A>(gamma));
                        });
    });
  });
  return loss;
}

Tensor sigmoid_focal_loss_backward(const Tensor& grad, const Tensor& input, const Tensor& target,
                                   const std::optional<Tensor>& weight, double gamma,
                                   double alpha) {
  const Tensor contiguous_input = contiguous(input);
  const Tensor contiguous_grad = contiguous(grad);
  check_gradient(grad, input.numel());
  const Tensor result = in_huge_pages(torch::stable::empty_like(contiguous_input));
  dispatch_floating(input, "sigmoid_focal_loss_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const T* x = contiguous_input.const_data_ptr<T>();
    const T* g = contiguous_grad.const_data_ptr<T>();
    dispatch_gamma(gamma, [&](auto whole) {
      for_each_entry<T>(input, target, weight, alpha, result.mutable_data_ptr<T>(),
                        [=](int64_t i, A sign, A share) {
                          const A z = sign * static_cast<A>(x[i]);
                          const A slope =
                              focal_loss_derivative<whole.value>(z, static_cast<A>(gamma));
                          return static_cast<A>(g[i]) * share * sign * slope;
                        });
    });
  });
  return result;
}

// Softmax of one row after another, in memory of its own.
template <typename T>
class Softmax {
  using A = acc_t<T>;

 public:
  explicit Softmax(int64_t classes) : exponentials_(classes) {}

  void read(const T* logits) {
    const int64_t classes = exponentials_.size();
    A* e = exponentials_.data();
    A top = -std::numeric_limits<A>::infinity();
#pragma omp simd reduction(max : top)
    for (int64_t c = 0; c < classes; ++c) top = std::max(top, static_cast<A>(logits[c]));
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < classes; ++c) {
      e[c] = vector_exp(static_cast<A>(logits[c]) - top);
      sum += e[c];
    }
    largest_ = top;
    sum_ = sum;
  }

  A log_of(T logit) const { return (static_cast<A>(logit) - largest_) - std::log(sum_); }

  // scale times the probabilities
  void write(A scale, T* out) const {
    const A* e = exponentials_.data();
    const A factor = scale / sum_;
    const int64_t classes = exponentials_.size();
    for (int64_t c = 0; c < classes; ++c) out[c] = static_cast<T>(factor * e[c]);
  }

 private:
  std::vector<A> exponentials_;
  A largest_ = 0;
  A sum_ = 1;
};

// The data of the targets, all of them below the number of classes.
const int64_t* checked_labels(const Tensor& labels, int64_t classes) {
  const int64_t* label = labels.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < labels.numel(); ++row) {
    STD_TORCH_CHECK(label[row] < classes, "softmax_focal_loss: target ", label[row], " of row ",
                    row, " is not a class; there are ", classes,
                    ". Use a negative target for rows without loss.");
  }
  return label;
}

// body(row, softmax of the row, log probability of its label, its factor), rows without one left
// out.
template <typename T, typename Body>
void for_each_row(const Tensor& input, const Tensor& target, const std::optional<Tensor>& weight,
                  const Body& body) {
  check_sizes(input, target, weight);
  const Tensor x = contiguous(input);
  const Tensor labels = contiguous(target);
  const std::optional<Tensor> weights = contiguous(weight);
  const int64_t classes = x.size(1);
  const T* logits = x.const_data_ptr<T>();
  const int64_t* label = checked_labels(labels, classes);
  const T* of_class = data_or_null<T>(weights);
  torch::stable::parallel_for(0, x.size(0), 64, [=, &body](int64_t begin, int64_t end) {
    Softmax<T> softmax(classes);
    for (int64_t row = begin; row < end; ++row) {
      if (label[row] < 0) continue;
      const T* own = logits + row * classes;
      softmax.read(own);
      body(row, softmax, softmax.log_of(own[label[row]]), factor_of(of_class, label[row], classes));
    }
  });
}

Tensor softmax_focal_loss(const Tensor& input, const Tensor& target,
                          const std::optional<Tensor>& weight, double gamma, double alpha) {
  const Tensor loss = torch::stable::new_zeros(input, {input.size(0)});
  dispatch_floating(input, "softmax_focal_loss", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    T* out = loss.mutable_data_ptr<T>();
    dispatch_gamma(gamma, [&](auto whole) {
      for_each_row<T>(input, target, weight, [=](int64_t row, auto&, A log_p, A factor) {
        const A value = row_focal_loss<whole.value>(log_p, static_cast<A>(gamma));
        out[row] = static_cast<T>(factor * static_cast<A>(alpha) * value);
      });
    });
  });
  return loss;
}

Tensor softmax_focal_loss_backward(const Tensor& grad, const Tensor& input, const Tensor& target,
                                   const std::optional<Tensor>& weight, double gamma,
                                   double alpha) {
  const Tensor contiguous_grad = contiguous(grad);
  check_gradient(grad, input.size(0));
  const Tensor contiguous_target = contiguous(target);
  const int64_t* label = contiguous_target.const_data_ptr<int64_t>();
  const int64_t classes = input.size(1);
  const Tensor result = in_huge_pages(torch::stable::new_empty(input, {input.size(0), classes}));
  dispatch_floating(input, "softmax_focal_loss_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const T* g = contiguous_grad.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(input.size(0), classes, [=](int64_t row) {
      if (label[row] < 0) std::fill_n(out + row * classes, classes, T(0));
    });
    dispatch_gamma(gamma, [&](auto whole) {
      for_each_row<T>(
          input, target, weight, [=](int64_t row, const Softmax<T>& softmax, A log_p, A factor) {
            const A slope = static_cast<A>(g[row]) * factor * static_cast<A>(alpha) *
                            row_focal_loss_derivative<whole.value>(log_p, static_cast<A>(gamma));
            softmax.write(-slope, out + row * classes);
            out[row * classes + label[row]] = static_cast<T>(slope * (1 - vector_exp(log_p)));
          });
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&sigmoid_focal_loss));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&sigmoid_focal_loss_backward));
  m.impl("softmax_focal_loss", TORCH_BOX(&softmax_focal_loss));
  m.impl("softmax_focal_loss_backward", TORCH_BOX(&softmax_focal_loss_backward));
}

}  // namespace okulo
