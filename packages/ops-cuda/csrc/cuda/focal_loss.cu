#include <cassert>

#include "common/focal_loss.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int kWarp = 32;

template <typename T>
struct Entries {
  const T* x;            // (N, C) logits
  const int64_t* label;  // (N,)
  const T* of_class;     // (C,) or null
  int64_t classes;
  acc_t<T> alpha;

  __device__ bool positive(int64_t i) const { return label[i / classes] == i % classes; }

  __device__ acc_t<T> logit(int64_t i) const {
    const acc_t<T> value = static_cast<acc_t<T>>(x[i]);
    return positive(i) ? value : -value;
  }

  __device__ acc_t<T> share(int64_t i) const {
    const int64_t k = label[i / classes];
    const bool known = of_class != nullptr && k >= 0 && k < classes;
    return (known ? static_cast<acc_t<T>>(of_class[k]) : 1) * (positive(i) ? alpha : 1 - alpha);
  }
};

template <int whole, typename T>
__global__ void forward(int64_t n, Entries<T> in, acc_t<T> gamma, T* loss) {
  OKULO_CUDA_LOOP(i, n) {
    loss[i] = static_cast<T>(in.share(i) * focal_loss<whole>(in.logit(i), gamma));
  }
}

template <int whole, typename T>
__global__ void backward(int64_t n, Entries<T> in, acc_t<T> gamma, const T* grad, T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const acc_t<T> slope = focal_loss_derivative<whole>(in.logit(i), gamma);
    const acc_t<T> sign = in.positive(i) ? 1 : -1;
    result[i] = static_cast<T>(static_cast<acc_t<T>>(grad[i]) * in.share(i) * sign * slope);
  }
}

// All tensors contiguous.
template <typename T>
Entries<T> entries(const Tensor& x, const Tensor& target, const std::optional<Tensor>& weight,
                   double alpha) {
  return {x.const_data_ptr<T>(), target.const_data_ptr<int64_t>(), data_or_null<T>(weight),
          x.size(1), static_cast<acc_t<T>>(alpha)};
}

Tensor sigmoid_focal_loss(const Tensor& input, const Tensor& target,
                          const std::optional<Tensor>& weight, double gamma, double alpha) {
  const Tensor x = contiguous(input);
  const Tensor t = contiguous(target);
  const std::optional<Tensor> w = contiguous(weight);
  const Tensor loss = torch::stable::empty_like(x);
  dispatch_floating(x, "sigmoid_focal_loss", [&](auto zero) {
    using T = decltype(zero);
    dispatch_gamma(gamma, [&](auto whole) {
      launch(x, x.numel(), forward<whole.value, T>, entries<T>(x, t, w, alpha),
             static_cast<acc_t<T>>(gamma), loss.mutable_data_ptr<T>());
    });
  });
  return loss;
}

Tensor sigmoid_focal_loss_backward(const Tensor& grad, const Tensor& input, const Tensor& target,
                                   const std::optional<Tensor>& weight, double gamma,
                                   double alpha) {
  const Tensor x = contiguous(input);
  const Tensor g = contiguous(grad);
  const Tensor t = contiguous(target);
  const std::optional<Tensor> w = contiguous(weight);
  const Tensor result = torch::stable::empty_like(x);
  dispatch_floating(x, "sigmoid_focal_loss_backward", [&](auto zero) {
    using T = decltype(zero);
    dispatch_gamma(gamma, [&](auto whole) {
      launch(x, x.numel(), backward<whole.value, T>, entries<T>(x, t, w, alpha),
             static_cast<acc_t<T>>(gamma), g.const_data_ptr<T>(), result.mutable_data_ptr<T>());
    });
  });
  return result;
}

// A row of logits read by one warp; every lane holds the results.
template <typename T>
struct Softmax {
  using A = acc_t<T>;
  A largest;
  A log_sum;

  __device__ Softmax(const T* logits, int64_t classes) {
    const int lane = threadIdx.x % kWarp;
    A top = -INFINITY;
    for (int64_t c = lane; c < classes; c += kWarp) top = max(top, static_cast<A>(logits[c]));
    for (int step = kWarp / 2; step > 0; step /= 2) {
      top = max(top, __shfl_xor_sync(0xffffffff, top, step));
    }
    A sum = 0;
    for (int64_t c = lane; c < classes; c += kWarp)
      sum += std::exp(static_cast<A>(logits[c]) - top);
    for (int step = kWarp / 2; step > 0; step /= 2) {
      sum += __shfl_xor_sync(0xffffffff, sum, step);
    }
    largest = top;
    log_sum = std::log(sum);
  }

  __device__ A log_of(T logit) const { return (static_cast<A>(logit) - largest) - log_sum; }
};

template <typename T>
struct Rows {
  const T* x;            // (N, C) logits
  const int64_t* label;  // (N,), below C
  const T* of_class;     // (C,) or null
  int64_t classes;
  acc_t<T> alpha;

  __device__ const T* logits(int64_t row) const { return x + row * classes; }

  __device__ acc_t<T> share(int64_t row) const {
    assert(label[row] < classes);
    return of_class ? alpha * static_cast<acc_t<T>>(of_class[label[row]]) : alpha;
  }
};

// n: threads, a warp for each row. The lanes of a warp agree on every branch around a shuffle.
template <int whole, typename T>
__global__ void softmax_forward(int64_t n, Rows<T> in, acc_t<T> gamma, T* loss) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t row = i / kWarp;
    acc_t<T> value = 0;
    if (in.label[row] >= 0) {
      const acc_t<T> share = in.share(row);
      const Softmax<T> softmax(in.logits(row), in.classes);
      const acc_t<T> log_p = softmax.log_of(in.logits(row)[in.label[row]]);
      value = share * row_focal_loss<whole>(log_p, gamma);
    }
    if (i % kWarp == 0) loss[row] = static_cast<T>(value);
  }
}

template <int whole, typename T>
__global__ void softmax_backward(int64_t n, Rows<T> in, acc_t<T> gamma, const T* grad, T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t row = i / kWarp;
    const int64_t label = in.label[row];
    if (label < 0) continue;  // result starts at 0
    const acc_t<T> factor = static_cast<acc_t<T>>(grad[row]) * in.share(row);
    const T* logits = in.logits(row);
    const Softmax<T> softmax(logits, in.classes);
    const acc_t<T> slope =
        factor * row_focal_loss_derivative<whole>(softmax.log_of(logits[label]), gamma);
    for (int64_t c = i % kWarp; c < in.classes; c += kWarp) {
      const acc_t<T> p = std::exp(softmax.log_of(logits[c]));
      result[row * in.classes + c] = static_cast<T>(slope * ((c == label ? 1 : 0) - p));
    }
  }
}

template <typename T>
Rows<T> rows(const Tensor& x, const Tensor& target, const std::optional<Tensor>& weight,
             double alpha) {
  return {x.const_data_ptr<T>(), target.const_data_ptr<int64_t>(), data_or_null<T>(weight),
          x.size(1), static_cast<acc_t<T>>(alpha)};
}

Tensor softmax_focal_loss(const Tensor& input, const Tensor& target,
                          const std::optional<Tensor>& weight, double gamma, double alpha) {
  const Tensor x = contiguous(input);
  const Tensor t = contiguous(target);
  const std::optional<Tensor> w = contiguous(weight);
  const Tensor loss = torch::stable::new_empty(x, {x.size(0)});
  dispatch_floating(x, "softmax_focal_loss", [&](auto zero) {
    using T = decltype(zero);
    dispatch_gamma(gamma, [&](auto whole) {
      launch(x, x.size(0) * kWarp, softmax_forward<whole.value, T>, rows<T>(x, t, w, alpha),
             static_cast<acc_t<T>>(gamma), loss.mutable_data_ptr<T>());
    });
  });
  return loss;
}

Tensor softmax_focal_loss_backward(const Tensor& grad, const Tensor& input, const Tensor& target,
                                   const std::optional<Tensor>& weight, double gamma,
                                   double alpha) {
  const Tensor x = contiguous(input);
  const Tensor g = contiguous(grad);
  const Tensor t = contiguous(target);
  const std::optional<Tensor> w = contiguous(weight);
  const Tensor result = torch::stable::new_zeros(x, {x.size(0), x.size(1)});
  dispatch_floating(x, "softmax_focal_loss_backward", [&](auto zero) {
    using T = decltype(zero);
    dispatch_gamma(gamma, [&](auto whole) {
      launch(x, x.size(0) * kWarp, softmax_backward<whole.value, T>, rows<T>(x, t, w, alpha),
             static_cast<acc_t<T>>(gamma), g.const_data_ptr<T>(), result.mutable_data_ptr<T>());
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&sigmoid_focal_loss));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&sigmoid_focal_loss_backward));
  m.impl("softmax_focal_loss", TORCH_BOX(&softmax_focal_loss));
  m.impl("softmax_focal_loss_backward", TORCH_BOX(&softmax_focal_loss_backward));
}

}  // namespace okulo
