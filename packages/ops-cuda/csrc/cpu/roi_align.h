// What the CPU kernels on boxes share: reading and checking them.
#pragma once

#include <vector>

#include "common/dispatch.h"
#include "common/roi_align.h"

namespace okulo {

// The row of a box's image in a batch; refuses what is outside.
template <typename A>
int64_t image_of(const A* roi, int64_t images) {
  STD_TORCH_CHECK(roi[0] >= 0 && roi[0] < static_cast<A>(images),
                  "column 0 of boxes must index one of the ", images, " images, got ", roi[0]);
  return static_cast<int64_t>(roi[0]);
}

// (K, 5) boxes in the type they are computed in.
inline Tensor accumulate_rois(const Tensor& rois, const Tensor& input) {
  STD_TORCH_CHECK(rois.dim() == 2 && rois.size(1) == 5, "boxes must be (K, 5)");
  return contiguous(torch::stable::to(rois, accumulate_type(input)));
}

}  // namespace okulo
