// Which whole cells belong to the bins of a box (https://arxiv.org/abs/1504.08083), along one axis.
#pragma once

#include <cmath>

#include "common/roi_align.h"

namespace okulo {

template <typename A>
struct PoolAxis {
  A base;   // whole cells; 0 for a box that is not rounded
  A start;  // from there
  A bin;    // 0 or less: no cells

  OKULO_HOST_DEVICE int64_t first(int64_t i, int64_t cells) const {
    if (!(bin > 0)) return 0;
    return to_index(base + std::floor(static_cast<A>(i) * bin + start), 0, cells);
  }
  OKULO_HOST_DEVICE int64_t last(int64_t i, int64_t cells) const {
    if (!(bin > 0)) return 0;
    return to_index(base + std::ceil(static_cast<A>(i + 1) * bin + start), 0, cells);
  }
};

// Halves away from zero.
template <typename A>
OKULO_HOST_DEVICE A round_to_cell(A value) {
  return value < 0 ? -std::floor(A(0.5) - value) : std::floor(value + A(0.5));
}

template <typename A>
OKULO_HOST_DEVICE PoolAxis<A> pool_axis(A low, A high, A scale, int64_t bins, bool rounded) {
  if (!rounded) {
    const A start = low * scale;
    return {A(0), start, ((high + 1) * scale - start) / static_cast<A>(bins)};
  }
  const A base = round_to_cell(low * scale);
  const A size = round_to_cell(high * scale) - base + 1;
  return {base, A(0), (size < 1 ? A(1) : size) / static_cast<A>(bins)};
}

}  // namespace okulo
