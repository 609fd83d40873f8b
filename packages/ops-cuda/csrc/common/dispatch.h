// Floating dtypes of the operators and the type each is computed in.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <optional>

namespace okulo {

using torch::headeronly::ScalarType;
using torch::stable::contiguous;
using torch::stable::Tensor;

// Calls body(T{}) with the tensor's floating type:
//   dispatch_floating(x, "nms", [&](auto zero) { using T = decltype(zero); forward<T>(x); });
template <typename Body>
void dispatch_floating(const Tensor& tensor, const char* name, const Body& body) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return body(float{});
    case ScalarType::Double:
      return body(double{});
    case ScalarType::Half:
      return body(torch::headeronly::Half{});
    case ScalarType::BFloat16:
      return body(torch::headeronly::BFloat16{});
    default:
      STD_TORCH_CHECK(false, name, " has kernels for float16, bfloat16, float32 and float64, got ",
                      torch::headeronly::toString(tensor.scalar_type()));
  }
}

// float16 and bfloat16 are read and written natively and computed in float32.
template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using acc_t = typename Accumulate<T>::type;

inline std::optional<Tensor> contiguous(const std::optional<Tensor>& tensor) {
  return tensor ? std::optional<Tensor>(contiguous(*tensor)) : std::nullopt;
}

// The data of an optional contiguous tensor, or null.
template <typename T>
const T* data_or_null(const std::optional<Tensor>& tensor) {
  return tensor ? tensor->const_data_ptr<T>() : nullptr;
}

// Autograd hands over a gradient of the shape of the output; a caller by hand might not.
inline void check_gradient(const Tensor& grad, int64_t numel) {
  STD_TORCH_CHECK(grad.numel() == numel, "the gradient must have the shape of the output with ",
                  numel, " elements, got ", grad.numel());
}

inline ScalarType accumulate_type(const Tensor& tensor) {
  return tensor.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

}  // namespace okulo
