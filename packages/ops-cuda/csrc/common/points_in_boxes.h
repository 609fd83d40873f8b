// Which boxes a point lies in.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace okulo {

constexpr int64_t kFrame = 8;  // centre x, y, z, half sizes x, y, z, cos and sin of the heading

// frame: the first of kFrame numbers that lie stride apart. Inside is open along x and y, closed
// along z; nothing is inside of what is not a number.
template <typename A, typename T>
OKULO_HOST_DEVICE bool is_inside(A x, A y, A z, const T* frame, int64_t stride) {
  const A dx = x - static_cast<A>(frame[0]);
  const A dy = y - static_cast<A>(frame[stride]);
  const A dz = z - static_cast<A>(frame[2 * stride]);
  const A cos = static_cast<A>(frame[6 * stride]), sin = static_cast<A>(frame[7 * stride]);
  const A along = dx * cos + dy * sin;
  const A across = dy * cos - dx * sin;
  return (std::fabs(along) < static_cast<A>(frame[3 * stride])) &
         (std::fabs(across) < static_cast<A>(frame[4 * stride])) &
         (std::fabs(dz) <= static_cast<A>(frame[5 * stride]));
}

}  // namespace okulo
