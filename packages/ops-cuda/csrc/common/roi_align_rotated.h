// Where the samples of rotated boxes lie.
#pragma once

#include "common/pooling.h"

namespace okulo {

template <typename A>
struct RotatedBox {
  MapSize map;
  int64_t columns;  // bins in a row
  A cx, cy, cos, sin, width, height, bin_width, bin_height;
  int64_t samples_x, samples_y;

  template <typename F>
  OKULO_HOST_DEVICE void visit(int64_t bin, const F& f) const {
    const A weight = 1 / A(samples_x * samples_y);
    const A row = A(bin / columns), column = A(bin % columns);
    const SampleRange down =
        on_map(sin, cos, row * bin_height - height / 2, bin_height / A(samples_y), samples_y);
    const SampleRange right =
        on_map(cos, -sin, column * bin_width - width / 2, bin_width / A(samples_x), samples_x);
    for (int64_t i = down.first; i < down.last; ++i) {
      const A yy = (row + (A(i) + A(0.5)) / A(samples_y)) * bin_height - height / 2;
      for (int64_t j = right.first; j < right.last; ++j) {
        const A xx = (column + (A(j) + A(0.5)) / A(samples_x)) * bin_width - width / 2;
        visit_bilinear(yy * cos - xx * sin + cy, xx * cos + yy * sin + cx, map, weight, f);
      }
    }
  }

  // The samples of a bin, along the axis (ux, uy) of the box, where the map lies as seen from the
  // centre.
  OKULO_HOST_DEVICE SampleRange on_map(A ux, A uy, A start, A step, int64_t count) const {
    const A w = A(map.width), h = A(map.height);
    const A middle = ((w - 1) / 2 - cx) * ux + ((h - 1) / 2 - cy) * uy;
    const A rounding = A(1e-6) * (std::abs(cx) + std::abs(cy) + width + height);
    const A reach = (w + 1) / 2 * std::abs(ux) + (h + 1) / 2 * std::abs(uy) + rounding;
    return samples_between(middle - reach, middle + reach, start, step, count);
  }
};

template <typename A>
struct RotatedBoxes {
  const A* rois;  // (K, 6): image, cx, cy, w, h, radians counter-clockwise
  MapSize map;
  int64_t images, rows, columns, samples;
  A scale;
  bool aligned;

  OKULO_HOST_DEVICE int64_t bins() const { return rows * columns; }
  OKULO_HOST_DEVICE int64_t image(int64_t k) const { return image_index(rois[6 * k], images); }

  OKULO_HOST_DEVICE RotatedBox<A> at(int64_t k) const {
    const A* roi = rois + 6 * k;
    const A shift = aligned ? A(0.5) : A(0);
    const A least = aligned ? A(-INFINITY) : A(1);
    const A width = std::max(roi[3] * scale, least), height = std::max(roi[4] * scale, least);
    const A bin_width = width / A(columns), bin_height = height / A(rows);
    return {map,
            columns,
            roi[1] * scale - shift,
            roi[2] * scale - shift,
            std::cos(roi[5]),
            std::sin(roi[5]),
            width,
            height,
            bin_width,
            bin_height,
            samples_along(bin_width, samples),
            samples_along(bin_height, samples)};
  }
};

template <typename A>
RotatedBoxes<A> rotated_boxes(const A* data, MapSize map, const Tensor& input, const Tensor& rois,
                              int64_t height, int64_t width, double scale, int64_t samples,
                              bool aligned) {
  STD_TORCH_CHECK(rois.dim() == 2 && rois.size(1) == 6, "roi_align_rotated: rois must be (K, 6)");
  return {data, map, input.size(0), height, width, samples, static_cast<A>(scale), aligned};
}

template <typename Pooling>
Tensor roi_align_rotated(const Tensor& input, const Tensor& rois, int64_t height, int64_t width,
                         double scale, int64_t samples, bool aligned) {
  return pool<Pooling>(input, rois, height, width, [&](const auto* data, MapSize map) {
    return rotated_boxes(data, map, input, rois, height, width, scale, samples, aligned);
  });
}

template <typename Pooling>
Tensor roi_align_rotated_backward(const Tensor& grad, const Tensor& input, const Tensor& rois,
                                  int64_t height, int64_t width, double scale, int64_t samples,
                                  bool aligned) {
  return pool_backward<Pooling>(grad, input, rois, [&](const auto* data, MapSize map) {
    return rotated_boxes(data, map, input, rois, height, width, scale, samples, aligned);
  });
}

}  // namespace okulo
