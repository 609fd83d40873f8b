// Area that two boxes (x, y, width, height, clockwise radians) share, and its gradient.
#pragma once

#include "common/dual.h"
#include "common/rotated_box.h"

namespace okulo {

template <typename T>
OKULO_HOST_DEVICE T half_side(const T* row, int side) {
  if (value_of(row[2]) * value_of(row[3]) < kNoArea) return T(0);
  return row[side] < T(0) ? T(-0.5) * row[side] : T(0.5) * row[side];
}

// T: double, or dual numbers.
template <typename T>
OKULO_HOST_DEVICE T shared_area_of_rows(const T* a, const T* b) {
  const T x = b[0] - a[0], y = b[1] - a[1];
  const T cos = cosine(a[4]), sin = sine(a[4]), cos2 = cosine(b[4]), sin2 = sine(b[4]);
  const Pose<T> seen = {cos * x + sin * y, cos * y - sin * x, cos * cos2 + sin * sin2,
                        cos * sin2 - sin * cos2};
  const T w1 = half_side(a, 2), h1 = half_side(a, 3), w2 = half_side(b, 2), h2 = half_side(b, 3);
  const Pose<double> p = {value_of(seen.x), value_of(seen.y), value_of(seen.cos),
                          value_of(seen.sin)};
  if (are_apart(p, value_of(w1), value_of(h1), value_of(w2), value_of(h2))) return T(0);
  return shared_area(seen, w1, h1, w2, h2);
}

template <typename T>
OKULO_HOST_DEVICE double shared_area_at(const T* row1, const T* row2) {
  double a[5], b[5];
  for (int k = 0; k < 5; ++k) {
    a[k] = static_cast<double>(row1[k]);
    b[k] = static_cast<double>(row2[k]);
  }
  return shared_area_of_rows(a, b);
}

// Writes the gradient, times grad, by both boxes.
template <typename T>
OKULO_HOST_DEVICE void shared_area_gradient_at(double grad, const T* row1, const T* row2, T* out1,
                                               T* out2) {
  using D = Dual<10>;
  D a[5], b[5];
  for (int k = 0; k < 5; ++k) {
    a[k] = D::variable(static_cast<double>(row1[k]), k);
    b[k] = D::variable(static_cast<double>(row2[k]), 5 + k);
  }
  const D area = shared_area_of_rows(a, b);
  for (int k = 0; k < 5; ++k) {
    out1[k] = static_cast<T>(grad * area.by[k]);
    out2[k] = static_cast<T>(grad * area.by[5 + k]);
  }
}

}  // namespace okulo
