// COCO's matching of the detections of one image and category to its ground truth.
#include <algorithm>
#include <vector>

#include "common/dispatch.h"

namespace okulo {
namespace {

// The truth that one detection takes, or -1. Rows of `iou` and flags are in order of preference:
// the ignored truths come last.
int64_t best_truth(const double* iou, int64_t truths, double threshold, const bool* ignored,
                   const bool* crowd, const std::vector<char>& taken) {
  double best = std::min(threshold, 1 - 1e-10);
  int64_t match = -1;
  for (int64_t g = 0; g < truths; ++g) {
    if (taken[g] && !crowd[g]) continue;
    if (match >= 0 && !ignored[match] && ignored[g]) break;
    if (!(iou[g] >= best)) continue;
    best = iou[g];
    match = g;
  }
  return match;
}

Tensor coco_match(const Tensor& ious, const Tensor& ignored, const Tensor& crowd,
                  const Tensor& thresholds) {
  const Tensor overlap = contiguous(ious), ignore = contiguous(ignored), many = contiguous(crowd),
               limits = contiguous(thresholds);
  const int64_t count = limits.numel(), detections = ious.size(0), truths = ious.size(1);
  STD_TORCH_CHECK(ignore.numel() == truths && many.numel() == truths,
                  "coco_match: expected two flags per truth");
  const Tensor matches = torch::stable::new_empty(overlap, {count, detections}, ScalarType::Long);
  const double* iou = overlap.const_data_ptr<double>();
  int64_t* out = matches.mutable_data_ptr<int64_t>();
  for (int64_t t = 0; t < count; ++t) {
    std::vector<char> taken(truths, 0);
    for (int64_t d = 0; d < detections; ++d) {
      const int64_t match =
          best_truth(iou + d * truths, truths, limits.const_data_ptr<double>()[t],
                     ignore.const_data_ptr<bool>(), many.const_data_ptr<bool>(), taken);
      if (match >= 0) taken[match] = 1;
      *out++ = match;
    }
  }
  return matches;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("coco_match", TORCH_BOX(&coco_match)); }

}  // namespace okulo
