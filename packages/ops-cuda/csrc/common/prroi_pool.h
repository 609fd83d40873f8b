// Exact means of the bilinear surface over bins (https://arxiv.org/abs/1807.11590), and their
// derivatives by the edges of the bins.
#pragma once

#include "common/pooling.h"

namespace okulo {

template <typename A>
struct Interval {
  A start, end;

  // Mean of the hat that is 1 at `index` and 0 from one pixel off, without cancellation.
  OKULO_HOST_DEVICE A share(int64_t index) const {
    const A from = start - A(index), to = end - A(index);
    const A before = clamp(from, -1, 0), until = clamp(to, -1, 0);
    const A after = clamp(from, 0, 1), beyond = clamp(to, 0, 1);
    const A rising = (until - before) * (1 + (before + until) / 2);
    const A falling = (beyond - after) * (1 - (after + beyond) / 2);
    return (rising + falling) / (to - from);
  }

  // Derivatives of share(index), which is given, by start and end.
  OKULO_HOST_DEVICE A by_start(int64_t index, A share) const {
    return (share - hat(start - A(index))) / (end - start);
  }
  OKULO_HOST_DEVICE A by_end(int64_t index, A share) const {
    return (hat(end - A(index)) - share) / (end - start);
  }

  // Features within one pixel, in 0..size - 1.
  OKULO_HOST_DEVICE int64_t first(int64_t size) const {
    return static_cast<int64_t>(std::floor(clamp(start, 0, A(size))));
  }
  OKULO_HOST_DEVICE int64_t last(int64_t size) const {
    return static_cast<int64_t>(std::ceil(clamp(end, -1, A(size - 1))));
  }

  OKULO_HOST_DEVICE static A hat(A t) { return std::max(A(0), 1 - std::abs(t)); }
  OKULO_HOST_DEVICE static A clamp(A t, A low, A high) { return std::min(std::max(t, low), high); }
};

template <typename A>
struct ExactBox {
  MapSize map;
  int64_t rows, columns;  // bins
  Interval<A> x, y;

  OKULO_HOST_DEVICE static Interval<A> part(Interval<A> whole, int64_t i, int64_t bins) {
    const A step = (whole.end - whole.start) / A(bins);
    return {whole.start + A(i) * step, whole.start + A(i + 1) * step};
  }

  // f(row, column, share of the row, share of the column, interval of y, interval of x).
  template <typename F>
  OKULO_HOST_DEVICE void visit_shares(int64_t bin, const F& f) const {
    const Interval<A> by = part(y, bin / columns, rows), bx = part(x, bin % columns, columns);
    if (!(by.end > by.start && bx.end > bx.start)) return;
    for (int64_t i = by.first(map.height); i <= by.last(map.height); ++i) {
      const A of_row = by.share(i);
      for (int64_t j = bx.first(map.width); j <= bx.last(map.width); ++j) {
        f(i, j, of_row, bx.share(j), by, bx);
      }
    }
  }

  template <typename F>
  OKULO_HOST_DEVICE void visit(int64_t bin, const F& f) const {
    const int64_t width = map.width;
    visit_shares(bin, [&](int64_t i, int64_t j, A of_row, A of_column, Interval<A>, Interval<A>) {
      f(i * width + j, of_row * of_column);
    });
  }

  // Derivatives of the mean over a bin by x0, y0, x1, y1 of the box, in cells of the map: calls
  // f(pixel, {four factors of the pixel}).
  template <typename F>
  OKULO_HOST_DEVICE void visit_derivatives(int64_t bin, const F& f) const {
    const A top = A(bin / columns) / A(rows), bottom = A(bin / columns + 1) / A(rows);
    const A left = A(bin % columns) / A(columns), right = A(bin % columns + 1) / A(columns);
    const int64_t width = map.width;
    visit_shares(
        bin, [&](int64_t i, int64_t j, A of_row, A of_column, Interval<A> by, Interval<A> bx) {
          const A x_start = bx.by_start(j, of_column) * of_row,
                  x_end = bx.by_end(j, of_column) * of_row;
          const A y_start = by.by_start(i, of_row) * of_column,
                  y_end = by.by_end(i, of_row) * of_column;
          const A factors[4] = {x_start * (1 - left) + x_end * (1 - right),
                                y_start * (1 - top) + y_end * (1 - bottom),
                                x_start * left + x_end * right, y_start * top + y_end * bottom};
          f(i * width + j, factors);
        });
  }
};

template <typename A>
struct ExactBoxes {
  const A* rois;  // (K, 5): image, x0, y0, x1, y1
  MapSize map;
  int64_t images, rows, columns;
  A scale;

  OKULO_HOST_DEVICE int64_t bins() const { return rows * columns; }
  OKULO_HOST_DEVICE int64_t image(int64_t k) const { return image_index(rois[5 * k], images); }
  OKULO_HOST_DEVICE ExactBox<A> at(int64_t k) const {
    const A* roi = rois + 5 * k;
    return {map, rows, columns, {roi[1] * scale, roi[3] * scale}, {roi[2] * scale, roi[4] * scale}};
  }
};

template <typename A>
ExactBoxes<A> exact_boxes(const A* data, MapSize map, const Tensor& features, const Tensor& rois,
                          int64_t height, int64_t width, double scale) {
  STD_TORCH_CHECK(rois.dim() == 2 && rois.size(1) == 5, "prroi_pool: rois must be (K, 5)");
  return {data, map, features.size(0), height, width, static_cast<A>(scale)};
}

template <typename Pooling>
Tensor prroi_pool(const Tensor& features, const Tensor& rois, int64_t height, int64_t width,
                  double scale) {
  return pool<Pooling>(features, rois, height, width, [&](const auto* data, MapSize map) {
    return exact_boxes(data, map, features, rois, height, width, scale);
  });
}

// Pooling also adds to the gradient of the boxes, (K, 5), by by_rois.
template <typename Pooling>
std::tuple<Tensor, Tensor> prroi_pool_backward(const Tensor& grad, const Tensor& features,
                                               const Tensor& rois, int64_t height, int64_t width,
                                               double scale) {
  const auto make = [&](const auto* data, MapSize map) {
    return exact_boxes(data, map, features, rois, height, width, scale);
  };
  const Tensor by_features = pool_backward<Pooling>(grad, features, rois, make);
  const Tensor x = contiguous(features);
  const Tensor g = contiguous(grad);
  const Tensor r = contiguous(torch::stable::to(rois, accumulate_type(x)));
  const Tensor by_rois = torch::stable::new_zeros(r, r.sizes());
  dispatch_floating(x, "prroi_pool_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const auto boxes = make(r.const_data_ptr<A>(), MapSize{x.size(2), x.size(3)});
    Pooling::template by_rois<T>(g, x, boxes, r.size(0), by_rois.mutable_data_ptr<A>());
  });
  return {by_features, torch::stable::to(by_rois, rois.scalar_type())};
}

}  // namespace okulo
