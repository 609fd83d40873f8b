// Points along the borders of boxes (https://arxiv.org/abs/2007.11056).
#pragma once

#include "common/pooling.h"

namespace okulo {

template <typename A>
struct Point {
  A y, x;
};

// The point after `step` of `steps` steps along border 0..3 of a box (x0, y0, x1, y1): top and left
// from its first corner, bottom and right from its last.
template <typename A>
OKULO_HOST_DEVICE Point<A> on_border(const A* box, int64_t border, int64_t step, int64_t steps) {
  const A right = (box[2] - box[0]) / A(steps) * A(step);
  const A down = (box[3] - box[1]) / A(steps) * A(step);
  switch (border) {
    case 0:
      return {box[1], box[0] + right};
    case 1:
      return {box[1] + down, box[0]};
    case 2:
      return {box[3], box[2] - right};
    default:
      return {box[3] - down, box[2]};
  }
}

inline void check_border_align(const Tensor& input, const Tensor& boxes, int64_t pool_size) {
  STD_TORCH_CHECK(input.dim() == 4 && input.size(1) % 4 == 0 && boxes.dim() == 3 &&
                      boxes.size(0) == input.size(0) && boxes.size(2) == 4 && pool_size > 0 &&
                      input.size(2) * input.size(3) > 0,
                  "border_align: expected input (N, 4 * C, H, W) with pixels, boxes (N, K, 4), "
                  "pool_size of 1 or more");
}

}  // namespace okulo
