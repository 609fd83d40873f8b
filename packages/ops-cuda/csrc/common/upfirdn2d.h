// Sizes and gradient of upfirdn2d along one axis. result[o] = sum over t of
// tap[t] * z[o * down + t - pad], z the input with up - 1 zeros after each sample.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "common/dispatch.h"

namespace okulo {

struct Axis {
  int64_t in, out, taps, up, down, pad;

  // The gradient inserts the zeros that were left out and leaves out those that were inserted; its
  // taps are turned round.
  Axis gradient() const { return {out, in, taps, down, up, taps - 1 - pad}; }
};

// y, then x.
inline std::pair<Axis, Axis> axes(const Tensor& input, const Tensor& taps,
                                  const std::vector<int64_t>& up, const std::vector<int64_t>& down,
                                  const std::vector<int64_t>& pad) {
  STD_TORCH_CHECK(input.dim() == 4 && taps.dim() == 2 && up.size() == 2 && down.size() == 2 &&
                      pad.size() == 4 && up[0] > 0 && up[1] > 0 && down[0] > 0 && down[1] > 0,
                  "upfirdn2d: expected input (N, C, H, W), taps (h, w) and positive factors");
  const auto axis = [&](int d, int64_t before, int64_t after) {
    const int64_t in = input.size(3 - d), k = taps.size(1 - d);
    const int64_t rest = in * up[d] + before + after - k;
    STD_TORCH_CHECK(rest >= 0, "upfirdn2d: the input is smaller than the kernel");
    return Axis{in, rest / down[d] + 1, k, up[d], down[d], before};
  };
  return {axis(1, pad[2], pad[3]), axis(0, pad[0], pad[1])};
}

}  // namespace okulo
