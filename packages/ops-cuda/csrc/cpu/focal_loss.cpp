#include "common/focal_loss.h"

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// f(logit with its sign turned for negatives, weight of the entry) for every entry (row, class).
template <typename T, typename F>
void for_each_entry(const Tensor& input, const Tensor& target, const std::optional<Tensor>& weight,
                    double alpha, const F& f) {
  const T* x = input.const_data_ptr<T>();
  const Tensor labels = contiguous(target);
  const std::optional<Tensor> weights = contiguous(weight);
  const int64_t* label = labels.const_data_ptr<int64_t>();
  const T* of_class = data_or_null<T>(weights);
  const int64_t classes = input.size(1);
  parallel_rows(input.size(0), 64 * classes, [&](int64_t row) {
    const bool known = label[row] >= 0 && label[row] < classes;
    const acc_t<T> scale = of_class && known ? static_cast<acc_t<T>>(of_class[label[row]]) : 1;
    for (int64_t c = 0; c < classes; ++c) {
      const bool positive = label[row] == c;
      const acc_t<T> share = scale * static_cast<acc_t<T>>(positive ? alpha : 1 - alpha);
      const int64_t i = row * classes + c;
      f(i, static_cast<acc_t<T>>(x[i]), positive, share);
    }
  });
}

Tensor sigmoid_focal_loss(const Tensor& input, const Tensor& target,
                          const std::optional<Tensor>& weight, double gamma, double alpha) {
  const Tensor x = contiguous(input);
  const Tensor loss = torch::stable::empty_like(x);
  dispatch_floating(x, "sigmoid_focal_loss", [&](auto zero) {
    using T = decltype(zero);
    T* out = loss.mutable_data_ptr<T>();
    for_each_entry<T>(
        x, target, weight, alpha, [=](int64_t i, auto logit, bool positive, auto share) {
          using A = acc_t<T>;
          out[i] = static_cast<T>(share * focal_loss<A>(positive ? logit : -logit, A(gamma)));
        });
  });
  return loss;
}

Tensor sigmoid_focal_loss_backward(const Tensor& grad, const Tensor& input, const Tensor& target,
                                   const std::optional<Tensor>& weight, double gamma,
                                   double alpha) {
  const Tensor x = contiguous(input);
  const Tensor g = contiguous(grad);
  const Tensor result = torch::stable::empty_like(x);
  dispatch_floating(x, "sigmoid_focal_loss_backward", [&](auto zero) {
    using T = decltype(zero);
    const T* from = g.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    for_each_entry<T>(
        x, target, weight, alpha, [=](int64_t i, auto logit, bool positive, auto share) {
          using A = acc_t<T>;
          const A slope = focal_loss_derivative<A>(positive ? logit : -logit, A(gamma));
          out[i] = static_cast<T>(A(from[i]) * share * (positive ? slope : -slope));
        });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&sigmoid_focal_loss));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&sigmoid_focal_loss_backward));
}

}  // namespace okulo
