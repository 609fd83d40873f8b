// What is added up at each feature: itself, and samples at its box's centre and corners.
#pragma once

#include "common/pooling.h"

namespace okulo {

template <typename A>
struct BoxesOfImage {
  const A* boxes;  // (H * W, 5): cy, cx, w, h, radians clockwise
  MapSize map;
  int64_t points;
  A scale;

  template <typename F>
  OKULO_HOST_DEVICE void visit(int64_t bin, const F& f) const {
    const A* box = boxes + 5 * bin;
    const A y = box[0] * scale, x = box[1] * scale;
    f(bin, A(1));
    visit_bilinear(y, x, map, A(1), f);
    if (points == 1) return;
    const A cos = std::cos(box[4]) * scale / 2, sin = std::sin(box[4]) * scale / 2;
    for (int corner = 0; corner < 4; ++corner) {
      const A u = corner < 2 ? -box[2] : box[2], v = corner % 2 == 0 ? -box[3] : box[3];
      visit_bilinear(y + (u * sin + v * cos), x + (u * cos - v * sin), map, A(1), f);
    }
  }
};

// A region is an image, a bin one of its features.
template <typename A>
struct RotatedFeatures {
  const A* boxes;
  MapSize map;
  int64_t points;
  A scale;

  OKULO_HOST_DEVICE int64_t bins() const { return map.height * map.width; }
  OKULO_HOST_DEVICE int64_t image(int64_t k) const { return k; }
  OKULO_HOST_DEVICE BoxesOfImage<A> at(int64_t k) const {
    return {boxes + 5 * bins() * k, map, points, scale};
  }
};

template <typename A>
RotatedFeatures<A> rotated_features(const A* data, MapSize map, const Tensor& features,
                                    const Tensor& boxes, double scale, int64_t points) {
  STD_TORCH_CHECK(boxes.dim() == 4 && boxes.size(0) == features.size(0) &&
                      boxes.size(1) == map.height && boxes.size(2) == map.width &&
                      boxes.size(3) == 5,
                  "rotated_feature_align: boxes must be (N, H, W, 5)");
  return {data, map, points, static_cast<A>(scale)};
}

template <typename Pooling>
Tensor rotated_feature_align(const Tensor& features, const Tensor& boxes, double scale,
                             int64_t points) {
  return pool<Pooling>(features, boxes, features.size(2), features.size(3),
                       [&](const auto* data, MapSize map) {
                         return rotated_features(data, map, features, boxes, scale, points);
                       });
}

template <typename Pooling>
Tensor rotated_feature_align_backward(const Tensor& grad, const Tensor& features,
                                      const Tensor& boxes, double scale, int64_t points) {
  return pool_backward<Pooling>(grad, features, boxes, [&](const auto* data, MapSize map) {
    return rotated_features(data, map, features, boxes, scale, points);
  });
}

}  // namespace okulo
