// Rotated boxes and the area that two of them share.
//
// The area is a boundary integral (Green's theorem): clamping a polygon to an upright rectangle
// moves what is outside onto the rectangle's border, where it encloses nothing, so the area of
// the clamped outline is the shared one. Every step is continuous; identical, touching and nearly
// parallel boxes need no tolerance, and there is no branch to keep a compiler from vectorising.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/dual.h"

namespace okulo {

// Boxes with less area overlap nothing.
constexpr double kNoArea = 1e-14;

// Boxes that reach into each other by less than this share of their extent only touch.
constexpr double kTouching = 1e-12;

// A box by its centre, half of its sides, and cos and sin of its angle, clockwise with y down.
struct RotatedBox {
  double x, y, w, h, cos, sin;

  OKULO_HOST_DEVICE double area() const { return 4 * w * h; }
};

// row: (x, y, width, height, angle); turn: clockwise radians in one unit of the angle. Sides of
// opposite sign, or with hardly any area, become 0.
template <typename T>
OKULO_HOST_DEVICE RotatedBox rotated_box(const T* row, double turn) {
  const double w = static_cast<double>(row[2]), h = static_cast<double>(row[3]);
  const double angle = static_cast<double>(row[4]) * turn;
  const double half = w * h < kNoArea ? 0 : 0.5;
  return {static_cast<double>(row[0]),
          static_cast<double>(row[1]),
          half * std::fabs(w),
          half * std::fabs(h),
          std::cos(angle),
          std::sin(angle)};
}

// Written as processors take a maximum and a minimum: NaN and equal numbers give the second one.
template <typename T>
OKULO_HOST_DEVICE T clamped(T x, T low, T high) {
  const T y = low > x ? low : x;
  return high < y ? high : y;
}

template <typename T>
OKULO_HOST_DEVICE T nonzero(T x) {
  return std::fabs(value_of(x)) < 1e-100 ? T(1) : x;
}

// A direction of the edges of a box, clamped to |x| <= w, |y| <= h: what its two edges share.
template <typename T>
struct EdgeDirection {
  T x, y, per_x, per_y, w, h;  // w and h have the signs of x and y
  T zero, one;

  OKULO_HOST_DEVICE EdgeDirection reversed() const {
    return {-x, -y, -per_x, -per_y, -w, -h, zero, one};
  }

  // The integral of y over x along the clamped edge that starts in (x0, y0).
  OKULO_HOST_DEVICE T under(T x0, T y0, T height) const {
    const T enter = clamped((-w - x0) * per_x, zero, one);
    const T leave = clamped((w - x0) * per_x, zero, one);
    // Between them y is flat, then sloping, then flat: the middle of the slope.
    const T turning = T(0.5) * (clamped((-h - y0) * per_y, enter, leave) +
                                clamped((h - y0) * per_y, enter, leave));
    const T start = clamped(y0 + enter * y, -height, height);
    const T end = clamped(y0 + leave * y, -height, height);
    return x * (start * (turning - enter) + end * (leave - turning));
  }
};

// A box seen from another one: centre, and cos and sin of its angle, in the other's frame.
template <typename T>
struct Pose {
  T x, y, cos, sin;
};

OKULO_HOST_DEVICE Pose<double> pose(const RotatedBox& a, const RotatedBox& b) {
  const double x = b.x - a.x, y = b.y - a.y;
  return {a.cos * x + a.sin * y, a.cos * y - a.sin * x, a.cos * b.cos + a.sin * b.sin,
          a.cos * b.sin - a.sin * b.cos};
}

template <typename T>
OKULO_HOST_DEVICE EdgeDirection<T> edge_direction(T x, T y, T w, T h, T zero, T one) {
  return {x,    y,  T(1) / nonzero(x), T(1) / nonzero(y), x < T(0) ? -w : w, y < T(0) ? -h : h,
          zero, one};
}

// Area shared by the rectangle of half sides (w1, h1) in the origin and that of (w2, h2) at p.
// zero, one: a kernel that hands in variables lets GCC clamp by its instructions for maximum and
// minimum, which it does not find for constants.
template <typename T>
OKULO_HOST_DEVICE T shared_area(const Pose<T>& p, T w1, T h1, T w2, T h2, T zero = T(0),
                                T one = T(1)) {
  const T ux = w2 * p.cos, uy = w2 * p.sin, vx = -(h2 * p.sin), vy = h2 * p.cos;
  const EdgeDirection<T> u = edge_direction(ux + ux, uy + uy, w1, h1, zero, one),
                         back = u.reversed();
  const EdgeDirection<T> v = edge_direction(vx + vx, vy + vy, w1, h1, zero, one),
                         down = v.reversed();
  return -(u.under(p.x - ux - vx, p.y - uy - vy, h1) + v.under(p.x + ux - vx, p.y + uy - vy, h1) +
           back.under(p.x + ux + vx, p.y + uy + vy, h1) +
           down.under(p.x - ux + vx, p.y - uy + vy, h1));
}

// Whether one of the four directions of the sides separates the two rectangles; true for NaN.
OKULO_HOST_DEVICE bool are_apart(const Pose<double>& p, double w1, double h1, double w2,
                                 double h2) {
  const double cos = std::fabs(p.cos), sin = std::fabs(p.sin);
  const double reach = 1 - kTouching;
  const bool x1 = std::fabs(p.x) < reach * (w1 + w2 * cos + h2 * sin);
  const bool y1 = std::fabs(p.y) < reach * (h1 + w2 * sin + h2 * cos);
  const bool x2 = std::fabs(p.cos * p.x + p.sin * p.y) < reach * (w2 + w1 * cos + h1 * sin);
  const bool y2 = std::fabs(p.cos * p.y - p.sin * p.x) < reach * (h2 + w1 * sin + h1 * cos);
  return !(x1 & y1 & x2 & y2);
}

// How an overlap is measured: against the union, or against the first box.
enum OverlapMode : int64_t { kIou = 0, kIof = 1 };

OKULO_HOST_DEVICE double overlap_ratio(double shared, double area1, double area2, int64_t mode) {
  const double least = area1 < area2 ? area1 : area2;
  const double inside = clamped(shared, 0.0, least);
  const double whole = mode == kIou ? area1 + area2 - inside : area1;
  return inside > 0 ? inside / whole : 0;
}

OKULO_HOST_DEVICE double overlap(const RotatedBox& a, const RotatedBox& b, int64_t mode) {
  const Pose<double> seen = pose(a, b);
  if (are_apart(seen, a.w, a.h, b.w, b.h)) return 0;
  return overlap_ratio(shared_area(seen, a.w, a.h, b.w, b.h), a.area(), b.area(), mode);
}

}  // namespace okulo
