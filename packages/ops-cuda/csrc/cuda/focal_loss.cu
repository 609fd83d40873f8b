#include "common/focal_loss.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

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

template <typename T>
__global__ void forward(int64_t n, Entries<T> in, acc_t<T> gamma, T* loss) {
  OKULO_CUDA_LOOP(i, n) loss[i] = static_cast<T>(in.share(i) * focal_loss(in.logit(i), gamma));
}

template <typename T>
__global__ void backward(int64_t n, Entries<T> in, acc_t<T> gamma, const T* grad, T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const acc_t<T> slope = focal_loss_derivative(in.logit(i), gamma);
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
    launch(x, x.numel(), forward<T>, entries<T>(x, t, w, alpha), static_cast<acc_t<T>>(gamma),
           loss.mutable_data_ptr<T>());
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
    launch(x, x.numel(), backward<T>, entries<T>(x, t, w, alpha), static_cast<acc_t<T>>(gamma),
           g.const_data_ptr<T>(), result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&sigmoid_focal_loss));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&sigmoid_focal_loss_backward));
}

}  // namespace okulo
