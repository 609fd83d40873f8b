#include "common/upfirdn2d.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// One thread for each result; taps that meet inserted zeros are stepped over.
template <typename T>
__global__ void run(int64_t total, const T* input, const acc_t<T>* taps, bool turned, Axis y,
                    Axis x, T* result) {
  OKULO_CUDA_LOOP(i, total) {
    const int64_t ox = i % x.out, oy = i / x.out % y.out, plane = i / x.out / y.out;
    const int64_t at_y = oy * y.down - y.pad, at_x = ox * x.down - x.pad;
    const int64_t first_y = ((-at_y) % y.up + y.up) % y.up;
    const int64_t first_x = ((-at_x) % x.up + x.up) % x.up;
    acc_t<T> sum = 0;
    for (int64_t ty = first_y; ty < y.taps; ty += y.up) {
      const int64_t h = (at_y + ty) / y.up;
      if (at_y + ty < 0 || h >= y.in) continue;
      for (int64_t tx = first_x; tx < x.taps; tx += x.up) {
        const int64_t w = (at_x + tx) / x.up;
        if (at_x + tx < 0 || w >= x.in) continue;
        const int64_t t = ty * x.taps + tx;
        const acc_t<T> weight = taps[turned ? y.taps * x.taps - 1 - t : t];
        sum += weight * static_cast<acc_t<T>>(input[(plane * y.in + h) * x.in + w]);
      }
    }
    result[i] = static_cast<T>(sum);
  }
}

Tensor apply(const Tensor& input, const Tensor& taps, bool turned, const Axis& y, const Axis& x) {
  const Tensor from = contiguous(input);
  const Tensor exact = contiguous(torch::stable::to(taps, accumulate_type(from)));
  const int64_t shape[] = {from.size(0), from.size(1), y.out, x.out};
  const Tensor result = torch::stable::new_empty(from, shape);
  dispatch_floating(from, "upfirdn2d", [&](auto zero) {
    using T = decltype(zero);
    launch(from, result.numel(), run<T>, from.const_data_ptr<T>(), exact.const_data_ptr<acc_t<T>>(),
           turned, y, x, result.mutable_data_ptr<T>());
  });
  return result;
}

Tensor upfirdn2d(const Tensor& input, const Tensor& taps, std::vector<int64_t> up,
                 std::vector<int64_t> down, std::vector<int64_t> pad) {
  const auto [y, x] = axes(input, taps, up, down, pad);
  return apply(input, taps, false, y, x);
}

Tensor upfirdn2d_backward(const Tensor& grad, const Tensor& input, const Tensor& taps,
                          std::vector<int64_t> up, std::vector<int64_t> down,
                          std::vector<int64_t> pad) {
  const auto [y, x] = axes(input, taps, up, down, pad);
  return apply(grad, taps, true, y.gradient(), x.gradient());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("upfirdn2d", TORCH_BOX(&upfirdn2d));
  m.impl("upfirdn2d_backward", TORCH_BOX(&upfirdn2d_backward));
}

}  // namespace okulo
