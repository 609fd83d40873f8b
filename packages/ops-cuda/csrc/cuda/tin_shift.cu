#include "cuda/launch.h"

namespace okulo {
namespace {

// See csrc/cpu/tin_shift.cpp. block: channels of a group times pixels.
template <typename T>
__global__ void move(int64_t n, const T* input, const int64_t* shift, int64_t sign, int64_t frames,
                     int64_t groups, int64_t block, T* out) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t i = index / block;
    const int64_t clip = i / groups / frames, t = i / groups % frames;
    const int64_t wanted = shift[clip * groups + i % groups];
    const int64_t steps = wanted < -frames ? -frames : wanted > frames ? frames : wanted;
    const int64_t source = t - sign * steps;
    const bool inside = source >= 0 && source < frames;
    out[index] = inside ? input[index + (source - t) * groups * block] : T(0);
  }
}

Tensor shifted(const Tensor& input, const Tensor& shift, int64_t sign) {
  STD_TORCH_CHECK(input.dim() == 4 && shift.dim() == 2 && shift.size(0) == input.size(0) &&
                      shift.size(1) > 0 && input.size(2) % shift.size(1) == 0,
                  "tin_shift: sizes of input and shift do not fit each other");
  const Tensor x = contiguous(input), s = contiguous(shift);
  const Tensor out = torch::stable::empty_like(x);
  const int64_t groups = s.size(1);
  dispatch_floating(x, "tin_shift", [&](auto zero) {
    using T = decltype(zero);
    launch(x, x.numel(), move<T>, x.const_data_ptr<T>(), s.const_data_ptr<int64_t>(), sign,
           x.size(1), groups, x.size(2) / groups * x.size(3), out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor tin_shift(const Tensor& input, const Tensor& shift) { return shifted(input, shift, 1); }

Tensor tin_shift_backward(const Tensor& grad, const Tensor&, const Tensor& shift) {
  return shifted(grad, shift, -1);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("tin_shift", TORCH_BOX(&tin_shift));
  m.impl("tin_shift_backward", TORCH_BOX(&tin_shift_backward));
}

}  // namespace okulo
