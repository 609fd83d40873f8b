// Multi-scale deformable attention (https://arxiv.org/abs/2010.04159, Eq. 3): what one point reads.
#pragma once

#include <cmath>

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// The four cells around a point of one level. A cell outside the level has row -1 and weight 0.
template <typename A>
struct Taps {
  int64_t row[4];  // cell among all levels
  A weight[4];     // bilinear
  A weight_dx[4];  // derivative of the weight by the location
  A weight_dy[4];
};

template <typename A>
OKULO_HOST_DEVICE Taps<A> taps_of(A location_x, A location_y, int64_t height, int64_t width,
                                  int64_t start) {
  Taps<A> taps{{-1, -1, -1, -1}, {}, {}, {}};
  const A x = location_x * width - A(0.5);
  const A y = location_y * height - A(0.5);
  if (!(x >= -1 && y >= -1 && x < width && y < height)) return taps;  // NaN too
  const int64_t left = static_cast<int64_t>(std::floor(x));
  const int64_t top = static_cast<int64_t>(std::floor(y));
  const A along_x[2] = {left + 1 - x, x - left};
  const A along_y[2] = {top + 1 - y, y - top};
  for (int k = 0; k < 4; ++k) {
    const int i = k / 2, j = k % 2;
    if (top + i < 0 || top + i >= height || left + j < 0 || left + j >= width) continue;
    taps.row[k] = start + (top + i) * width + left + j;
    taps.weight[k] = along_y[i] * along_x[j];
    taps.weight_dx[k] = (j ? along_y[i] : -along_y[i]) * width;
    taps.weight_dy[k] = (i ? along_x[j] : -along_x[j]) * height;
  }
  return taps;
}

// Inputs of the operator, all contiguous. Points are counted over (batch, query, head, level,
// point).
template <typename T>
struct DeformableAttention {
  using A = acc_t<T>;
  const T* value;         // (batch, cells, heads, width)
  const int64_t* shapes;  // (levels, 2): height, width
  const int64_t* starts;  // (levels,)
  const A* locations;     // (batch, queries, heads, levels, points, 2): x, y
  const A* weights;       // (batch, queries, heads, levels, points)
  int64_t batch, cells, heads, width, queries, levels, points;

  int64_t points_per_head() const { return levels * points; }

  OKULO_HOST_DEVICE Taps<A> taps(int64_t point) const {
    const int64_t level = point / points % levels;
    return taps_of<A>(locations[2 * point], locations[2 * point + 1], shapes[2 * level],
                      shapes[2 * level + 1], starts[level]);
  }

  // Offset in value of the channels of a cell.
  OKULO_HOST_DEVICE int64_t offset(int64_t image, int64_t row, int64_t head) const {
    return ((image * cells + row) * heads + head) * width;
  }

  OKULO_HOST_DEVICE bool level_is_inside(int64_t level) const {
    const int64_t h = shapes[2 * level], w = shapes[2 * level + 1], start = starts[level];
    return h >= 0 && w >= 0 && start >= 0 && start <= cells && (w == 0 || h <= (cells - start) / w);
  }
};

// The tensors behind a DeformableAttention, kept alive.
struct DeformableAttentionInputs {
  Tensor value, shapes, starts, locations, weights;

  DeformableAttentionInputs(const Tensor& value, const Tensor& shapes, const Tensor& starts,
                            const Tensor& locations, const Tensor& weights)
      : value(contiguous(value)),
        shapes(contiguous(shapes)),
        starts(contiguous(starts)),
        locations(contiguous(torch::stable::to(locations, accumulate_type(value)))),
        weights(contiguous(torch::stable::to(weights, accumulate_type(value)))) {
    const int64_t levels = starts.numel();
    STD_TORCH_CHECK(value.dim() == 4 && locations.dim() == 6 && shapes.numel() == 2 * levels &&
                        locations.size(0) == value.size(0) && locations.size(2) == value.size(2) &&
                        locations.size(3) == levels && locations.numel() == 2 * weights.numel() &&
                        locations.size(5) == 2,
                    "ms_deform_attn: sizes of the inputs do not fit each other");
  }

  template <typename T>
  DeformableAttention<T> get() const {
    return {value.const_data_ptr<T>(),
            shapes.const_data_ptr<int64_t>(),
            starts.const_data_ptr<int64_t>(),
            locations.const_data_ptr<acc_t<T>>(),
            weights.const_data_ptr<acc_t<T>>(),
            value.size(0),
            value.size(1),
            value.size(2),
            value.size(3),
            locations.size(1),
            locations.size(3),
            locations.size(4)};
  }

  Tensor empty_output() const {
    return torch::stable::new_empty(
        value, {value.size(0), locations.size(1), value.size(2) * value.size(3)});
  }
};

}  // namespace okulo
