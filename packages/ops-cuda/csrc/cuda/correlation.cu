// Each thread sums one entry of its result, neighbours along a row of pixels: nothing is added
// atomically.
#include <tuple>

#include "common/correlation.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename T>
__global__ void forward(int64_t n, CorrelationSizes s, const T* first, const T* second, T* out) {
  using A = acc_t<T>;
  const int64_t plane = s.height * s.width;
  OKULO_CUDA_LOOP(index, n) {
    const int64_t ox = index % s.out_width, oy = index / s.out_width % s.out_height;
    const int64_t shift = index / s.out_width / s.out_height % s.shifts();
    const int64_t image = index / s.out_width / s.out_height / s.shifts() * s.channels * plane;
    A sum = 0;
    for (int64_t tap = 0; tap < s.kernel * s.kernel; ++tap) {
      const int64_t y = oy * s.stride - s.padding + tap / s.kernel * s.dilation;
      const int64_t x = ox * s.stride - s.padding + tap % s.kernel * s.dilation;
      const int64_t y2 = y + s.shift_y(shift), x2 = x + s.shift_x(shift);
      if (!s.inside(y, x) || !s.inside(y2, x2)) continue;
      const T* a = first + image + y * s.width + x;
      const T* b = second + image + y2 * s.width + x2;
      for (int64_t c = 0; c < s.channels; ++c) {
        sum += static_cast<A>(a[c * plane]) * static_cast<A>(b[c * plane]);
      }
    }
    out[index] = static_cast<T>(sum);
  }
}

// sign 1: of the first input from the second; sign -1: of the second from the first.
template <typename T>
__global__ void backward(int64_t n, CorrelationSizes s, const T* grad, const T* other, int64_t sign,
                         T* result) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(index, n) {
    const int64_t x = index % s.width, y = index / s.width % s.height;
    const int64_t plane = index / s.width / s.height;
    A sum = 0;
    for (int64_t shift = 0; shift < s.shifts(); ++shift) {
      const int64_t y2 = y + sign * s.shift_y(shift), x2 = x + sign * s.shift_x(shift);
      if (!s.inside(y2, x2)) continue;
      const A slope =
          s.slope_at(grad, plane / s.channels, shift, sign > 0 ? y : y2, sign > 0 ? x : x2);
      sum += slope * static_cast<A>(other[(plane * s.height + y2) * s.width + x2]);
    }
    result[index] = static_cast<T>(sum);
  }
}

Tensor correlation(const Tensor& input1, const Tensor& input2, int64_t kernel, int64_t reach,
                   int64_t stride, int64_t padding, int64_t dilation, int64_t patch_dilation) {
  const CorrelationSizes s(input1, input2, kernel, reach, stride, padding, dilation,
                           patch_dilation);
  const Tensor a = contiguous(input1), b = contiguous(input2);
  const int64_t shape[] = {s.batch, s.side(), s.side(), s.out_height, s.out_width};
  const Tensor result = torch::stable::new_empty(a, shape);
  dispatch_floating(a, "correlation", [&](auto zero) {
    using T = decltype(zero);
    launch(a, result.numel(), forward<T>, s, a.const_data_ptr<T>(), b.const_data_ptr<T>(),
           result.mutable_data_ptr<T>());
  });
  return result;
}

std::tuple<Tensor, Tensor> correlation_backward(const Tensor& grad, const Tensor& input1,
                                                const Tensor& input2, int64_t kernel, int64_t reach,
                                                int64_t stride, int64_t padding, int64_t dilation,
                                                int64_t patch_dilation) {
  const CorrelationSizes s(input1, input2, kernel, reach, stride, padding, dilation,
                           patch_dilation);
  const Tensor g = contiguous(grad), a = contiguous(input1), b = contiguous(input2);
  s.check_gradient(g);
  const Tensor by_first = torch::stable::empty_like(a), by_second = torch::stable::empty_like(b);
  dispatch_floating(a, "correlation_backward", [&](auto zero) {
    using T = decltype(zero);
    const T* slopes = g.const_data_ptr<T>();
    launch(a, a.numel(), backward<T>, s, slopes, b.const_data_ptr<T>(), int64_t{1},
           by_first.mutable_data_ptr<T>());
    launch(a, b.numel(), backward<T>, s, slopes, a.const_data_ptr<T>(), int64_t{-1},
           by_second.mutable_data_ptr<T>());
  });
  return {by_first, by_second};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("correlation", TORCH_BOX(&correlation));
  m.impl("correlation_backward", TORCH_BOX(&correlation_backward));
}

}  // namespace okulo
