// Where the samples of a strip between two Bezier curves lie (https://arxiv.org/abs/2002.10200).
#pragma once

#include "common/pooling.h"

namespace okulo {

template <typename A>
OKULO_HOST_DEVICE A cubic(A p0, A p1, A p2, A p3, A t) {
  const A rest = 1 - t;
  return rest * rest * rest * p0 + 3 * t * rest * rest * p1 + 3 * t * t * rest * p2 +
         t * t * t * p3;
}

template <typename A>
struct BezierStrip {
  const A* p;  // eight points (x, y): the upper curve, then the lower one backwards
  MapSize map;
  int64_t rows, columns;  // bins
  A scale, shift, bin_width, bin_height;
  int64_t samples_x, samples_y;

  // axis: 0 for x, 1 for y.
  OKULO_HOST_DEVICE A middle(int axis, A along, A across) const {
    const A* q = p + axis;
    const A upper = cubic(q[0], q[2], q[4], q[6], along);
    const A lower = cubic(q[14], q[12], q[10], q[8], along);
    return (upper * (1 - across) + lower * across) * scale - shift;
  }

  template <typename F>
  OKULO_HOST_DEVICE void visit(int64_t bin, const F& f) const {
    const A along = A(bin % columns) / A(columns), across = A(bin / columns) / A(rows);
    const A cx = middle(0, along, across), cy = middle(1, along, across);
    const A weight = 1 / A(samples_x * samples_y);
    const SampleRange down = on_map(cy, bin_height, samples_y, map.height);
    const SampleRange right = on_map(cx, bin_width, samples_x, map.width);
    for (int64_t i = down.first; i < down.last; ++i) {
      const A y = cy + ((A(i) + A(0.5)) / A(samples_y) - A(0.5)) * bin_height;
      for (int64_t j = right.first; j < right.last; ++j) {
        const A x = cx + ((A(j) + A(0.5)) / A(samples_x) - A(0.5)) * bin_width;
        visit_bilinear(y, x, map, weight, f);
      }
    }
  }

  OKULO_HOST_DEVICE SampleRange on_map(A center, A bin_size, int64_t count, int64_t cells) const {
    const A rounding = A(1e-6) * (std::abs(center) + bin_size);
    return samples_between(-1 - rounding, A(cells) + rounding, center - bin_size / 2,
                           bin_size / A(count), count);
  }
};

template <typename A>
struct BezierStrips {
  const A* beziers;  // (K, 17): image, eight points
  MapSize map;
  int64_t images, rows, columns, samples;
  A scale;
  bool aligned;

  OKULO_HOST_DEVICE int64_t bins() const { return rows * columns; }
  OKULO_HOST_DEVICE int64_t image(int64_t k) const { return image_index(beziers[17 * k], images); }

  OKULO_HOST_DEVICE A extent(const A* q) const {
    const A size = std::max(std::abs(q[0] - q[6]), std::abs(q[14] - q[8])) * scale;
    return aligned ? size : std::max(size, A(1));
  }

  OKULO_HOST_DEVICE BezierStrip<A> at(int64_t k) const {
    const A* p = beziers + 17 * k + 1;
    const A bin_width = extent(p) / A(columns), bin_height = extent(p + 1) / A(rows);
    return {p,
            map,
            rows,
            columns,
            scale,
            aligned ? A(0.5) : A(0),
            bin_width,
            bin_height,
            samples_along(bin_width, samples),
            samples_along(bin_height, samples)};
  }
};

template <typename A>
BezierStrips<A> bezier_strips(const A* data, MapSize map, const Tensor& input,
                              const Tensor& beziers, int64_t height, int64_t width, double scale,
                              int64_t samples, bool aligned) {
  STD_TORCH_CHECK(beziers.dim() == 2 && beziers.size(1) == 17,
                  "bezier_align: beziers must be (K, 17)");
  return {data, map, input.size(0), height, width, samples, static_cast<A>(scale), aligned};
}

template <typename Pooling>
Tensor bezier_align(const Tensor& input, const Tensor& beziers, int64_t height, int64_t width,
                    double scale, int64_t samples, bool aligned) {
  return pool<Pooling>(input, beziers, height, width, [&](const auto* data, MapSize map) {
    return bezier_strips(data, map, input, beziers, height, width, scale, samples, aligned);
  });
}

template <typename Pooling>
Tensor bezier_align_backward(const Tensor& grad, const Tensor& input, const Tensor& beziers,
                             int64_t height, int64_t width, double scale, int64_t samples,
                             bool aligned) {
  return pool_backward<Pooling>(grad, input, beziers, [&](const auto* data, MapSize map) {
    return bezier_strips(data, map, input, beziers, height, width, scale, samples, aligned);
  });
}

}  // namespace okulo
