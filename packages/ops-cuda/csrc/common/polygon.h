// Simple polygons, and the area that two of them share.
//
// The shared area is a sum over pairs of edges of what lies below both (trapezoids down to one base
// line, signed by the directions of the edges): exact whether or not they are convex, whichever way
// they run, and continuous, so that coinciding edges and corners need no tolerance.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/rotated_box.h"

namespace okulo {

constexpr int64_t kCorners = 24;  // at most

struct Polygon {
  int64_t corners;
  double area, left, right, low, high;
  // Of each edge: its start and direction.
  double x[kCorners], y[kCorners], run[kCorners], climb[kCorners];
};

template <typename T>
OKULO_HOST_DEVICE Polygon polygon(const T* row, int64_t corners) {
  Polygon p;
  p.corners = corners;
  p.left = p.right = static_cast<double>(row[0]);
  p.low = p.high = static_cast<double>(row[1]);
  double twice = 0;
  for (int64_t k = 0; k < corners; ++k) {
    const int64_t next = k + 1 < corners ? k + 1 : 0;
    const double x = static_cast<double>(row[2 * k]), y = static_cast<double>(row[2 * k + 1]);
    p.x[k] = x, p.y[k] = y;
    p.run[k] = static_cast<double>(row[2 * next]) - x;
    p.climb[k] = static_cast<double>(row[2 * next + 1]) - y;
    p.left = x < p.left ? x : p.left, p.right = x > p.right ? x : p.right;
    p.low = y < p.low ? y : p.low, p.high = y > p.high ? y : p.high;
    twice += (x - p.x[0]) * p.climb[k] - (y - p.y[0]) * p.run[k];
  }
  p.area = std::fabs(twice) / 2;
  return p;
}

// What lies below both edges, each from (x, y) on by (run, climb).
template <typename T>
OKULO_HOST_DEVICE T below_both(T ax, T ay, T arun, T aclimb, T bx, T by, T brun, T bclimb) {
  const T zero(0), one(1), half(0.5);
  const T aend = ax + arun, bend = bx + brun;
  const T aleft = ax < aend ? ax : aend, aright = ax < aend ? aend : ax;
  const T bleft = bx < bend ? bx : bend, bright = bx < bend ? bend : bx;
  const T left = aleft < bleft ? bleft : aleft, right = aright < bright ? aright : bright;
  const T width = right > left ? right - left : zero;
  const T sign = (arun > zero) == (brun > zero) ? width : -width;
  const T per_a = one / nonzero(arun), per_b = one / nonzero(brun);
  const T a0 = ay + clamped((left - ax) * per_a, zero, one) * aclimb;
  const T a1 = ay + clamped((right - ax) * per_a, zero, one) * aclimb;
  const T b0 = by + clamped((left - bx) * per_b, zero, one) * bclimb;
  const T b1 = by + clamped((right - bx) * per_b, zero, one) * bclimb;
  // Where the first edge is the lower one, it counts instead of the second.
  const T f0 = a0 - b0, f1 = a1 - b1;
  const T crossing = clamped(f0 / nonzero(f0 - f1), zero, one);
  const T until = f1 < zero ? one : crossing;
  const T middle = half * (f0 < zero ? until : one + crossing);
  const T n0 = f0 < zero ? f0 : zero, n1 = f1 < zero ? f1 : zero;
  return sign * (half * (b0 + b1) + n0 * middle + n1 * (one - middle));
}

// Share of the area of the union (or of the first polygon) that is common to both.
OKULO_HOST_DEVICE double overlap(const Polygon& a, const Polygon& b, bool iof) {
  const double least = a.area < b.area ? a.area : b.area;
  const bool near = a.left < b.right && b.left < a.right && a.low < b.high && b.low < a.high;
  if (!near || !(least >= kNoArea)) return 0;
  const double x = a.x[0], y = a.y[0];
  double sum = 0;
  for (int64_t i = 0; i < a.corners; ++i) {
    if (a.run[i] == 0) continue;  // an upright edge, or a corner that is there twice
    double below[kCorners];
    for (int64_t j = 0; j < b.corners; ++j) {
      below[j] = below_both(a.x[i] - x, a.y[i] - y, a.run[i], a.climb[i], b.x[j] - x, b.y[j] - y,
                            b.run[j], b.climb[j]);
    }
    for (int64_t j = 0; j < b.corners; ++j) sum += b.run[j] == 0 ? 0 : below[j];
  }
  const double shared = clamped(std::fabs(sum), 0.0, least);
  const double whole = iof ? a.area : a.area + b.area - shared;
  return shared > 1e-12 * whole ? shared / whole : 0;  // less than rounding only touches
}

}  // namespace okulo
