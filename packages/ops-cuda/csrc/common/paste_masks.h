// Where the centre of a pixel falls in a mask that is stretched over a box.
#pragma once

#include <cmath>

#include "common/macros.h"

namespace okulo {

// The two cells around a place along one axis, index and index + 1 of a mask with a border of one
// zero on either side, and their weights; no weight outside the mask.
template <typename A>
struct CellPair {
  int64_t index;
  A before, after;
};

// low, high: the sides of the box in pixels. A box without extent, or not a number, has no inside.
template <typename A>
OKULO_HOST_DEVICE CellPair<A> tap(int64_t pixel, A low, A high, int64_t size) {
  const A place = (static_cast<A>(pixel) + A(0.5) - low) / (high - low) * size - A(0.5);
  if (!(high > low && place > -1 && place < size)) return {0, 0, 0};
  const A below = std::floor(place);
  const A fraction = place - below;
  return {static_cast<int64_t>(below) + 1, 1 - fraction, fraction};
}

// Whether a pixel is near enough to the box to be looked at, which matters for threshold 0 only.
template <typename A>
OKULO_HOST_DEVICE bool is_near(int64_t pixel, A low, A high) {
  return pixel >= std::floor(low) - 1 && pixel < std::ceil(high) + 1;
}

template <typename A>
OKULO_HOST_DEVICE unsigned char finished(A value, A threshold) {
  if (threshold >= 0) return value >= threshold;
  const A scaled = value * 255;
  return static_cast<unsigned char>(scaled > 0 ? (scaled < 255 ? scaled : A(255)) : A(0));
}

}  // namespace okulo
