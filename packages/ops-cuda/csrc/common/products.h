// Tensors as the matrices of a convolution, and PyTorch's product of them.
#pragma once

#include <array>

#include "common/dispatch.h"

namespace okulo {

inline Tensor as_contiguous(const Tensor& tensor, ScalarType type) {
  return contiguous(torch::stable::to(tensor, type));
}

inline std::optional<Tensor> as_contiguous(const std::optional<Tensor>& tensor, ScalarType type) {
  return tensor ? std::optional<Tensor>(as_contiguous(*tensor, type)) : std::nullopt;
}

inline Tensor channels_last(const Tensor& tensor, ScalarType type) {
  const Tensor to_back = torch::stable::transpose(torch::stable::transpose(tensor, 1, 2), 2, 3);
  return as_contiguous(to_back, type);
}

inline Tensor matrix(const Tensor& tensor, int64_t group) {
  return torch::stable::select(tensor, 0, group);
}

inline Tensor rows_of(const Tensor& tensor, int64_t group, int64_t count) {
  Tensor whole = matrix(tensor, group);
  return torch::stable::narrow(whole, 0, 0, count);
}

inline Tensor columns_of(const Tensor& tensor, int64_t group, int64_t count) {
  Tensor whole = matrix(tensor, group);
  return torch::stable::narrow(whole, 1, 0, count);
}

// The last two dimensions exchanged.
inline Tensor transposed(const Tensor& matrices) {
  return torch::stable::transpose(matrices, matrices.dim() - 2, matrices.dim() - 1);
}

// The product of two matrices, or of as many pairs of them, into what exists: what has a place to
// go keeps its dtype in an autocast region, too.
inline void multiply(const Tensor& a, const Tensor& b, const Tensor& out) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(a), torch::stable::detail::from(b),
                                    torch::stable::detail::from(out)};
  const char* name = a.dim() == 3 ? "aten::bmm" : "aten::mm";
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher(name, "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // takes over the returned reference
}

}  // namespace okulo
