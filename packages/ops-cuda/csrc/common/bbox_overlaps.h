// Overlap of two boxes: 0 where they share no area or a coordinate is not a number.
#pragma once

#include "common/boxes.h"

namespace okulo {

// of_first: the share of the first box instead of intersection over union.
template <typename A>
OKULO_HOST_DEVICE A overlap(const Box<A>& a, const Box<A>& b, A area_a, A area_b, bool of_first,
                            A offset) {
  const A shared = shared_area(a, b, offset);
  const A both = area_a + area_b;
  const A whole = of_first ? area_a : both - shared;
  const A share = shared / (whole < offset ? offset : whole);
  return (shared > 0) & (both == both) ? share : A(0);
}

}  // namespace okulo
