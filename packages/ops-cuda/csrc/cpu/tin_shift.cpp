#include "common/dispatch.h"
#include "cpu/fresh_memory.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// input (clips, frames, channels, pixels); frame t of a group of channels goes to frame
// t + sign * shift, shift (clips, groups), and zeros enter.
template <typename T>
void move(const Tensor& input, const Tensor& shift, int64_t sign, const Tensor& out) {
  const int64_t frames = input.size(1), groups = shift.size(1);
  const int64_t block = input.size(2) / groups * input.size(3);
  const int64_t* by = shift.const_data_ptr<int64_t>();
  const T* from = input.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  parallel_rows(input.size(0) * frames * groups, block, [&](int64_t i) {
    const int64_t clip = i / groups / frames, t = i / groups % frames;
    const int64_t steps = std::clamp(by[clip * groups + i % groups], -frames, frames);
    const int64_t source = t - sign * steps;
    if (source < 0 || source >= frames) {
      std::fill_n(to + i * block, block, T(0));
    } else {
      std::copy_n(from + (i + (source - t) * groups) * block, block, to + i * block);
    }
  });
}

Tensor shifted(const Tensor& input, const Tensor& shift, int64_t sign) {
  STD_TORCH_CHECK(input.dim() == 4 && shift.dim() == 2 && shift.size(0) == input.size(0) &&
                      shift.size(1) > 0 && input.size(2) % shift.size(1) == 0,
                  "tin_shift: sizes of input and shift do not fit each other");
  const Tensor x = contiguous(input), s = contiguous(shift);
  const Tensor out = in_huge_pages(torch::stable::empty_like(x));
  dispatch_floating(x, "tin_shift", [&](auto zero) { move<decltype(zero)>(x, s, sign, out); });
  return out;
}

Tensor tin_shift(const Tensor& input, const Tensor& shift) { return shifted(input, shift, 1); }

// Each frame's gradient comes back from where the frame went.
Tensor tin_shift_backward(const Tensor& grad, const Tensor&, const Tensor& shift) {
  return shifted(grad, shift, -1);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("tin_shift", TORCH_BOX(&tin_shift));
  m.impl("tin_shift_backward", TORCH_BOX(&tin_shift_backward));
}

}  // namespace okulo
