// Generalised IoU of the convex hull of nine points with a quadrilateral, and its gradient.
#pragma once

#include "common/polygon.h"

namespace okulo {

// Some of the points, by index, in the order of an outline.
template <int N>
struct Outline {
  int count = 0;
  int at[N];
};

OKULO_HOST_DEVICE double turn_of(const double* xy, int first, int middle, int last) {
  const double *p = xy + 2 * first, *q = xy + 2 * middle, *r = xy + 2 * last;
  return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
}

OKULO_HOST_DEVICE bool coincide(const double* xy, int i, int j) {
  return xy[2 * i] == xy[2 * j] && xy[2 * i + 1] == xy[2 * j + 1];
}

// The convex hull of N points: from left to right below them, and back above. Points on its edges
// belong to it, of those that coincide one.
template <int N>
OKULO_HOST_DEVICE Outline<2 * N> convex_outline(const double* xy) {
  int rank[N];
  for (int i = 0; i < N; ++i) {
    const double x = xy[2 * i], y = xy[2 * i + 1];
    int k = i;
    for (; k > 0; --k) {
      const double* before = xy + 2 * rank[k - 1];
      if (!(x < before[0] || (x == before[0] && y < before[1]))) break;
      rank[k] = rank[k - 1];
    }
    rank[k] = i;
  }
  Outline<2 * N> hull;
  int& n = hull.count;
  for (const bool back : {false, true}) {
    const int start = n;
    for (int k = 0; k < N; ++k) {
      const int next = rank[back ? N - 1 - k : k];
      if (n > start && coincide(xy, hull.at[n - 1], next)) continue;
      while (n - start > 1 && turn_of(xy, hull.at[n - 2], hull.at[n - 1], next) < 0) --n;
      hull.at[n++] = next;
    }
    --n;  // the way back begins there
  }
  return hull;
}

template <int N>
OKULO_HOST_DEVICE double area_within(const double* xy, const Outline<N>& outline) {
  double twice = 0;
  for (int k = 2; k < outline.count; ++k) {
    twice += turn_of(xy, outline.at[0], outline.at[k - 1], outline.at[k]);
  }
  return twice / 2;
}

// Adds the gradient of |area|, times weight, by every point.
template <int N>
OKULO_HOST_DEVICE void add_area_gradient(const double* xy, const Outline<N>& outline, double area,
                                         double weight, double* gradient) {
  const double half = area == 0 ? 0 : area < 0 ? -weight / 2 : weight / 2;
  for (int k = 0; k < outline.count; ++k) {
    const double* before = xy + 2 * outline.at[k > 0 ? k - 1 : outline.count - 1];
    const double* after = xy + 2 * outline.at[k + 1 < outline.count ? k + 1 : 0];
    gradient[2 * outline.at[k]] += half * (after[1] - before[1]);
    gradient[2 * outline.at[k] + 1] -= half * (after[0] - before[0]);
  }
}

// Calls f(i, j, k, l) for every edge from point i to j of the first outline and k to l of the
// second, if some of both lies at the same x.
template <int N, int M, typename F>
OKULO_HOST_DEVICE void visit_edges(const double* xy, const Outline<N>& a, const Outline<M>& b,
                                   const F& f) {
  for (int first = 0; first < a.count; ++first) {
    const int i = a.at[first], j = a.at[first + 1 < a.count ? first + 1 : 0];
    for (int second = 0; second < b.count; ++second) {
      const int k = b.at[second], l = b.at[second + 1 < b.count ? second + 1 : 0];
      const double x0 = xy[2 * i], x1 = xy[2 * j], x2 = xy[2 * k], x3 = xy[2 * l];
      const double left = x0 < x1 ? x0 : x1, right = x0 < x1 ? x1 : x0;
      if (x0 != x1 && x2 != x3 && (x2 < right || x3 < right) && (left < x2 || left < x3)) {
        f(i, j, k, l);
      }
    }
  }
}

class ConvexGiou {
 public:
  // points: (x, y) of nine; quad: of four.
  template <typename T>
  OKULO_HOST_DEVICE ConvexGiou(const T* points, const T* quad) {
    for (int k = 0; k < 18; ++k) xy_[k] = static_cast<double>(points[k]);
    for (int k = 0; k < 8; ++k) xy_[18 + k] = static_cast<double>(quad[k]);
    for (int k = 25; k >= 0; --k) xy_[k] -= xy_[k % 2];  // no digits are lost far from the origin
    for (int k = 0; k < 4; ++k) quad_.at[quad_.count++] = 9 + k;
    ring_ = convex_outline<9>(xy_);
    both_ = convex_outline<13>(xy_);
    ring_area_ = area_within(xy_, ring_);
    quad_area_ = area_within(xy_, quad_);
    hull_area_ = area_within(xy_, both_);
    visit_edges(xy_, ring_, quad_, [this](int i, int j, int k, int l) {
      const double *p = xy_ + 2 * i, *q = xy_ + 2 * j, *r = xy_ + 2 * k, *s = xy_ + 2 * l;
      shared_ +=
          below_both(p[0], p[1], q[0] - p[0], q[1] - p[1], r[0], r[1], s[0] - r[0], s[1] - r[1]);
    });
  }

  OKULO_HOST_DEVICE double value() const {
    const double each = joint();
    return std::fabs(shared_) / at_least(each) - (hull() - each) / at_least(hull());
  }

  // Adds the gradient, times grad, by the 26 coordinates.
  OKULO_HOST_DEVICE void add_gradient(double grad, double* gradient) const {
    const double each = joint(), shared = std::fabs(shared_);
    const double whole = at_least(each), outer = at_least(hull());
    const double by_union = grad * ((each < kNoArea ? 0 : -shared / (whole * whole)) + 1 / outer);
    const double by_hull =
        grad * ((hull() < kNoArea ? 0 : (hull() - each) / (outer * outer)) - 1 / outer);
    add_area_gradient(xy_, ring_, ring_area_, by_union, gradient);
    add_area_gradient(xy_, quad_, quad_area_, by_union, gradient);
    add_area_gradient(xy_, both_, hull_area_, by_hull, gradient);
    const double by_shared = grad / whole - by_union;
    add_shared_gradient(shared_ < 0 ? -by_shared : by_shared, gradient);
  }

 private:
  OKULO_HOST_DEVICE static double at_least(double area) { return area < kNoArea ? kNoArea : area; }
  OKULO_HOST_DEVICE double hull() const { return std::fabs(hull_area_); }
  OKULO_HOST_DEVICE double joint() const {
    return std::fabs(ring_area_) + std::fabs(quad_area_) - std::fabs(shared_);
  }

  OKULO_HOST_DEVICE void add_shared_gradient(double weight, double* gradient) const {
    visit_edges(xy_, ring_, quad_, [=, this](int i, int j, int k, int l) {
      const int start[] = {2 * i, 2 * k}, end[] = {2 * j, 2 * l};
      Dual<8> v[8];  // of both edges: start, direction
      for (int c = 0; c < 8; ++c) {
        const double from = xy_[start[c / 4] + c % 2], to = xy_[end[c / 4] + c % 2];
        v[c] = Dual<8>::variable(c % 4 < 2 ? from : to - from, c);
      }
      const Dual<8> part = below_both(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
      for (int c = 0; c < 4; ++c) {
        const int edge = c / 2, axis = c % 2;
        const double by_start = part.by[4 * edge + axis], by_way = part.by[4 * edge + 2 + axis];
        gradient[start[edge] + axis] += weight * (by_start - by_way);
        gradient[end[edge] + axis] += weight * by_way;
      }
    });
  }

  double xy_[26];
  double ring_area_, quad_area_, hull_area_, shared_ = 0;
  Outline<18> ring_;
  Outline<26> both_;
  Outline<4> quad_;
};

// Writes the gradient, times grad, by the points and by the quadrilateral.
template <typename T>
OKULO_HOST_DEVICE void convex_giou_gradient_at(double grad, const T* points, const T* quad,
                                               T* by_points, T* by_quad) {
  double gradient[26] = {};
  ConvexGiou(points, quad).add_gradient(grad, gradient);
  for (int k = 0; k < 18; ++k) by_points[k] = static_cast<T>(gradient[k]);
  for (int k = 0; k < 8; ++k) by_quad[k] = static_cast<T>(gradient[18 + k]);
}

}  // namespace okulo
