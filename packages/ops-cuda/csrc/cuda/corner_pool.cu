#include <limits>

#include "common/corner_pool.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// n: lines of all planes; a thread scans one.
template <typename T>
__global__ void forward(int64_t n, Scans s, const T* input, T* out) {
  OKULO_CUDA_LOOP(index, n) {
    int64_t at = index / s.lines * s.plane_size() + index % s.lines * s.line_stride + s.start;
    acc_t<T> maximum = -std::numeric_limits<acc_t<T>>::infinity();
    for (int64_t i = 0; i < s.steps; ++i, at += s.step_stride) {
      const acc_t<T> x = static_cast<acc_t<T>>(input[at]);
      maximum = takes_over(x, maximum) ? x : maximum;
      out[at] = static_cast<T>(maximum);
    }
  }
}

template <typename T>
__global__ void backward(int64_t n, Scans s, const T* grad, const T* input, T* result) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t at = index / s.lines * s.plane_size() + index % s.lines * s.line_stride + s.start;
    backward_of_line(s, at, grad, input, result);
  }
}

Tensor corner_pool(const Tensor& input, int64_t dim, bool from_end) {
  const Scans s(input, dim, from_end);
  const Tensor x = contiguous(input);
  const Tensor out = torch::stable::empty_like(x);
  dispatch_floating(x, "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    launch(x, s.planes * s.lines, forward<T>, s, x.const_data_ptr<T>(), out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor corner_pool_backward(const Tensor& grad, const Tensor& input, int64_t dim, bool from_end) {
  const Scans s(input, dim, from_end);
  const Tensor g = contiguous(grad), x = contiguous(input);
  const Tensor result = torch::stable::empty_like(x);
  dispatch_floating(x, "corner_pool_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(x, s.planes * s.lines, backward<T>, s, g.const_data_ptr<T>(), x.const_data_ptr<T>(),
           result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("corner_pool", TORCH_BOX(&corner_pool));
  m.impl("corner_pool_backward", TORCH_BOX(&corner_pool_backward));
}

}  // namespace okulo
