// Where the samples of boxes lie whose bins are moved (https://arxiv.org/abs/1703.06211, section
// 2.2).
#pragma once

#include "common/pooling.h"
#include "common/roi_align.h"

namespace okulo {

template <typename A>
struct MovedBox {
  MapSize map;
  RoiAxis<A> y, x;
  A reach_y, reach_x;  // how far an offset of 1 moves a bin, in cells
  const A* offset;     // (2, rows, columns), x first; or null
  int64_t bins, columns;

  // Calls f(y, x, weight) with the place of every sample of a bin that may be on the map.
  template <typename F>
  OKULO_HOST_DEVICE void for_each_sample(int64_t bin, const F& f) const {
    RoiAxis<A> v = y, h = x;
    if (offset != nullptr) {
      h.start += reach_x * offset[bin];
      v.start += reach_y * offset[bins + bin];
    }
    const int64_t i = bin / columns, j = bin % columns;
    const int64_t last_y = v.last(i, map.height), last_x = h.last(j, map.width);
    const A weight = 1 / (A(v.count) * A(h.count));
    for (int64_t a = v.first(i); a < last_y; ++a)
      for (int64_t b = h.first(j); b < last_x; ++b) f(v.position(i, a), h.position(j, b), weight);
  }

  template <typename F>
  OKULO_HOST_DEVICE void visit(int64_t bin, const F& f) const {
    for_each_sample(bin, [&](A v, A h, A weight) { visit_bilinear(v, h, map, weight, f); });
  }
};

template <typename A>
struct MovedBoxes {
  const A* rois;     // (K, 5)
  const A* offsets;  // (K, 2, rows, columns) or null
  MapSize map;
  int64_t images, rows, columns, ratio;
  A scale, gamma;

  OKULO_HOST_DEVICE int64_t bins() const { return rows * columns; }
  OKULO_HOST_DEVICE int64_t image(int64_t k) const { return image_index(rois[5 * k], images); }

  OKULO_HOST_DEVICE MovedBox<A> at(int64_t k) const {
    const A* roi = rois + 5 * k;
    return {map,
            roi_axis(roi[2], roi[4], scale, rows, ratio, true),
            roi_axis(roi[1], roi[3], scale, columns, ratio, true),
            gamma * ((roi[4] - roi[2]) * scale),
            gamma * ((roi[3] - roi[1]) * scale),
            offsets ? offsets + 2 * k * bins() : nullptr,
            bins(),
            columns};
  }
};

// Whether a sample is between two cells, so that it has a slope; outside the map the border is
// repeated and it is level.
template <typename A>
OKULO_HOST_DEVICE bool between_cells(A position, int64_t cells) {
  return position >= 0 && position <= A(cells - 1);
}

// Calls f(pixel, slope by y, slope by x) for the four features about a sample.
template <typename A, typename F>
OKULO_HOST_DEVICE void visit_slopes(A y, A x, MapSize map, const F& f) {
  const RoiTaps<A> v = roi_taps(y, map.height), h = roi_taps(x, map.width);
  if (!v.inside || !h.inside) return;
  const A by_y = between_cells(y, map.height) ? A(1) : A(0);
  const A by_x = between_cells(x, map.width) ? A(1) : A(0);
  f(v.low * map.width + h.low, -by_y * h.low_weight, -by_x * v.low_weight);
  f(v.low * map.width + h.high, -by_y * h.high_weight, by_x * v.low_weight);
  f(v.high * map.width + h.low, by_y * h.low_weight, -by_x * v.high_weight);
  f(v.high * map.width + h.high, by_y * h.high_weight, by_x * v.high_weight);
}

struct MovedPooling {
  int64_t height, width;
  double scale;
  int64_t ratio;
  double gamma;

  // rois and offset contiguous, in the type that the input is computed in.
  template <typename A>
  MovedBoxes<A> boxes(const A* rois, const std::optional<Tensor>& offset,
                      const Tensor& input) const {
    return {rois,
            data_or_null<A>(offset),
            {input.size(2), input.size(3)},
            input.size(0),
            height,
            width,
            ratio,
            static_cast<A>(scale),
            static_cast<A>(gamma)};
  }
};

inline std::optional<Tensor> accumulate_offset(const std::optional<Tensor>& offset,
                                               const Tensor& input, const Tensor& rois,
                                               const MovedPooling& set) {
  STD_TORCH_CHECK(rois.dim() == 2 && rois.size(1) == 5, "rois must be (K, 5)");
  if (!offset) return std::nullopt;
  STD_TORCH_CHECK(offset->numel() == 2 * rois.size(0) * set.height * set.width,
                  "offset must be (K, 2, height, width)");
  return contiguous(torch::stable::to(*offset, accumulate_type(input)));
}

// Pooling is CpuPooling or CudaPooling.
template <typename Pooling>
Tensor deform_roi_pool(const Tensor& input, const Tensor& rois, const std::optional<Tensor>& offset,
                       int64_t height, int64_t width, double scale, int64_t ratio, double gamma) {
  const MovedPooling set{height, width, scale, ratio, gamma};
  const auto moved = accumulate_offset(offset, input, rois, set);
  return pool<Pooling>(input, rois, height, width,
                       [&](const auto* data, MapSize) { return set.boxes(data, moved, input); });
}

// Pooling::slopes computes the gradient of the offsets, in the type it is accumulated in.
template <typename Pooling>
std::tuple<Tensor, Tensor> deform_roi_pool_backward(const Tensor& grad, const Tensor& input,
                                                    const Tensor& rois,
                                                    const std::optional<Tensor>& offset,
                                                    int64_t height, int64_t width, double scale,
                                                    int64_t ratio, double gamma) {
  const MovedPooling set{height, width, scale, ratio, gamma};
  const auto moved = accumulate_offset(offset, input, rois, set);
  const Tensor by_input = pool_backward<Pooling>(
      grad, input, rois, [&](const auto* data, MapSize) { return set.boxes(data, moved, input); });
  if (!offset) return {by_input, torch::stable::new_empty(input, {0})};
  const Tensor x = contiguous(input);
  const Tensor g = contiguous(grad);
  const Tensor r = contiguous(torch::stable::to(rois, accumulate_type(input)));
  const Tensor slopes = torch::stable::new_zeros(*offset, offset->sizes(), accumulate_type(input));
  dispatch_floating(x, "deform_roi_pool_backward", [&](auto zero) {
    using T = decltype(zero);
    const auto boxes = set.boxes(r.const_data_ptr<acc_t<T>>(), moved, x);
    Pooling::template slopes<T>(x, g, boxes, r.size(0), slopes.mutable_data_ptr<acc_t<T>>());
  });
  return {by_input, torch::stable::to(slopes, offset->scalar_type())};
}

}  // namespace okulo
