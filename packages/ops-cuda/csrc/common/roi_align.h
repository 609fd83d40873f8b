// ROIAlign along one axis (https://arxiv.org/abs/1703.06870, section 3): where the samples of a box
// stand and which cells they read. Shared by all pooling that samples boxes bilinearly.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace okulo {

// Truncated to an integer in [low, high]; NaN is low.
template <typename A>
OKULO_HOST_DEVICE int64_t to_index(A value, int64_t low, int64_t high) {
  if (!(value >= static_cast<A>(low))) return low;
  return value >= static_cast<A>(high) ? high : static_cast<int64_t>(value);
}

// One axis of a box, in cells; a bin has count samples, spread evenly over it.
template <typename A>
struct RoiAxis {
  A start;
  A bin;
  int64_t count;
  bool adaptive;

  OKULO_HOST_DEVICE A position(int64_t i, int64_t sample) const {
    return start + static_cast<A>(i) * bin +
           (static_cast<A>(sample) + A(0.5)) * bin / static_cast<A>(count);
  }

  // Samples [first, last) of bin i; all others are outside the map. Without this a box of a million
  // cells would take as many steps. Adaptive samples are at least half a cell apart.
  OKULO_HOST_DEVICE int64_t first(int64_t i) const {
    if (!adaptive || count == 0) return 0;
    const A step = bin / static_cast<A>(count);
    const A outside = std::floor((-1 - (start + static_cast<A>(i) * bin)) / step - A(0.5)) - 1;
    return to_index(outside, 0, count);
  }

  OKULO_HOST_DEVICE int64_t last(int64_t i, int64_t cells) const {
    const int64_t end = first(i) + 2 * cells + 8;
    return adaptive && end < count ? end : count;
  }
};

template <typename A>
OKULO_HOST_DEVICE RoiAxis<A> roi_axis(A low, A high, A scale, int64_t bins, int64_t ratio,
                                      bool aligned) {
  const A shift = aligned ? A(0.5) : A(0);
  const A start = low * scale - shift;
  A size = high * scale - shift - start;
  if (!aligned && !(size >= 1)) size = 1;
  const A bin = size / static_cast<A>(bins);
  const int64_t count = ratio > 0 ? ratio : to_index(std::ceil(bin), 0, int64_t{1} << 30);
  return {start, bin, count, ratio <= 0};
}

// The two cells that a sample reads. Up to one cell outside the map the border is repeated, farther
// out there is nothing.
template <typename A>
struct RoiTaps {
  bool inside;
  int64_t low;
  int64_t high;
  A low_weight;
  A high_weight;
};

template <typename A>
OKULO_HOST_DEVICE RoiTaps<A> roi_taps(A position, int64_t cells) {
  if (!(position >= -1 && position <= static_cast<A>(cells)) || cells == 0) return {};
  const A p = position < 0 ? A(0) : position;
  const int64_t low = static_cast<int64_t>(p);
  if (low >= cells - 1) return {true, cells - 1, cells - 1, A(1), A(0)};
  const A high_weight = p - static_cast<A>(low);
  return {true, low, low + 1, 1 - high_weight, high_weight};
}

}  // namespace okulo
