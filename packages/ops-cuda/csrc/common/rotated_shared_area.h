// Area that two boxes (x, y, width, height, clockwise radians) share, and its gradient.
#pragma once

#include "common/dual.h"
#include "common/rotated_box.h"

namespace okulo {

template <typename T>
OKULO_HOST_DEVICE double shared_area_at(const T* row1, const T* row2) {
  const RotatedBox a = rotated_box(row1, 1), b = rotated_box(row2, 1);
  const Pose<double> seen = pose(a, b);
  if (are_apart(seen, a.w, a.h, b.w, b.h)) return 0;
  return shared_area(seen, a.w, a.h, b.w, b.h);
}

// The derivative of half a side by the side.
template <typename T>
OKULO_HOST_DEVICE double half_side_slope(T side, double half) {
  return half == 0 ? 0 : side < 0 ? -0.5 : 0.5;
}

// Writes the gradient, times grad, by both boxes. The area depends on how the second box lies in
// the frame of the first (x, y, angle) and on four sides: seven derivatives, of which the ten by
// the boxes follow.
template <typename T>
OKULO_HOST_DEVICE void shared_area_gradient_at(double grad, const T* row1, const T* row2, T* out1,
                                               T* out2) {
  for (int k = 0; k < 5; ++k) out1[k] = out2[k] = T(0);
  const RotatedBox a = rotated_box(row1, 1), b = rotated_box(row2, 1);
  const Pose<double> seen = pose(a, b);
  if (are_apart(seen, a.w, a.h, b.w, b.h)) return;
  using D = Dual<8>;  // a multiple of 4 fills vector registers
  const D turn = D::variable(0, 2);
  const Pose<D> p = {D::variable(seen.x, 0), D::variable(seen.y, 1),
                     turn.chained(seen.cos, -seen.sin), turn.chained(seen.sin, seen.cos)};
  const D area = shared_area(p, D::variable(a.w, 3), D::variable(a.h, 4), D::variable(b.w, 5),
                             D::variable(b.h, 6));
  const double x = grad * area.by[0], y = grad * area.by[1], angle = grad * area.by[2];
  out2[0] = static_cast<T>(a.cos * x - a.sin * y);
  out2[1] = static_cast<T>(a.sin * x + a.cos * y);
  out1[0] = static_cast<T>(a.sin * y - a.cos * x);
  out1[1] = static_cast<T>(-a.sin * x - a.cos * y);
  out1[2] = static_cast<T>(grad * area.by[3] * half_side_slope(row1[2], a.w));
  out1[3] = static_cast<T>(grad * area.by[4] * half_side_slope(row1[3], a.h));
  out2[2] = static_cast<T>(grad * area.by[5] * half_side_slope(row2[2], b.w));
  out2[3] = static_cast<T>(grad * area.by[6] * half_side_slope(row2[3], b.h));
  out1[4] = static_cast<T>(x * seen.y - y * seen.x - angle);
  out2[4] = static_cast<T>(angle);
}

}  // namespace okulo
