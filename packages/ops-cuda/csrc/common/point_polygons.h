// Points in quadrilaterals, and the smallest rectangles around points.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace okulo {

// Whether a ray from (x, y) to the right crosses the edge.
template <typename A>
OKULO_HOST_DEVICE bool ray_crosses(A x, A y, A x0, A y0, A x1, A y1) {
  const A beside = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0);
  const bool crosses = (y0 > y) != (y1 > y);
  const bool up = (y1 > y0) & (beside > 0), down = !(y1 > y0) & (beside < 0);
  return crosses & (up | down);
}

// x0: a corner's x of the polygon; its coordinates follow each other at this distance.
template <typename A>
OKULO_HOST_DEVICE bool is_inside(A x, A y, const A* x0, int64_t step) {
  bool inside = false;
  for (int k = 0; k < 4; ++k) {
    const A *p = x0 + 2 * k * step, *q = x0 + 2 * ((k + 1) % 4) * step;
    inside = inside != ray_crosses(x, y, p[0], p[step], q[0], q[step]);
  }
  return inside;
}

// Writes the corners of the rectangle of least area around nine points. One of its sides lies on
// an edge of their hull: some pair of points has its direction, and the rectangle of any other pair
// is not smaller.
template <typename T>
OKULO_HOST_DEVICE void min_area_rectangle(const T* points, T* corners) {
  constexpr int kPairs = 36;
  double cos[kPairs], sin[kPairs], u0[kPairs], u1[kPairs], v0[kPairs], v1[kPairs];
  int pair = 0;
  for (int i = 0; i < 9; ++i) {
    for (int j = i + 1; j < 9; ++j, ++pair) {
      cos[pair] = static_cast<double>(points[2 * j]) - static_cast<double>(points[2 * i]);
      sin[pair] = static_cast<double>(points[2 * j + 1]) - static_cast<double>(points[2 * i + 1]);
    }
  }
  const double infinite = HUGE_VAL;
  for (int k = 0; k < kPairs; ++k) {
    const double length = std::sqrt(cos[k] * cos[k] + sin[k] * sin[k]);
    cos[k] = length == 0 ? 1 : cos[k] / length;  // upright for points that coincide
    sin[k] = length == 0 ? 0 : sin[k] / length;
    u0[k] = v0[k] = infinite;
    u1[k] = v1[k] = -infinite;
  }
  for (int i = 0; i < 9; ++i) {
    const double x = static_cast<double>(points[2 * i]), y = static_cast<double>(points[2 * i + 1]);
    for (int k = 0; k < kPairs; ++k) {
      const double u = x * cos[k] + y * sin[k], v = y * cos[k] - x * sin[k];
      u0[k] = u0[k] < u ? u0[k] : u;
      u1[k] = u1[k] > u ? u1[k] : u;
      v0[k] = v0[k] < v ? v0[k] : v;
      v1[k] = v1[k] > v ? v1[k] : v;
    }
  }
  int best = 0;
  double least = infinite;
  for (int k = 0; k < kPairs; ++k) {
    const double area = (u1[k] - u0[k]) * (v1[k] - v0[k]);
    if (area < least) best = k, least = area;
  }
  const double u[] = {u0[best], u1[best]}, v[] = {v0[best], v1[best]};
  for (int k = 0; k < 4; ++k) {
    const double along = u[k == 1 || k == 2], across = v[k >= 2];
    corners[2 * k] = static_cast<T>(along * cos[best] - across * sin[best]);
    corners[2 * k + 1] = static_cast<T>(along * sin[best] + across * cos[best]);
  }
}

}  // namespace okulo
