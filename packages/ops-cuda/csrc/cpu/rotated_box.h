// Many rotated boxes on the CPU, laid out so that overlaps of one with all are vectorised.
#pragma once

#include <algorithm>
#include <vector>

#include "common/dispatch.h"
#include "common/rotated_box.h"

namespace okulo {

class RotatedBoxes {
 public:
  void add(const RotatedBox& box) {
    const int64_t lane = n_++ % kLanes;
    if (lane == 0) values_.resize(values_.size() + 6 * kLanes);  // filled up with boxes of no area
    double* at = &values_[values_.size() - 6 * kLanes + lane];
    const double fields[] = {box.x, box.y, box.w, box.h, box.cos, box.sin};
    for (int k = 0; k < 6; ++k) at[k * kLanes] = fields[k];
  }

  // Calls store(i, overlap of a with box i) for all boxes.
  template <typename Store>
  void overlaps(const RotatedBox& a, int64_t mode, const Store& store) const {
    for (int64_t first = 0; first < n_; first += kLanes) {
      double ratio[kLanes] = {};
      overlaps_of_group(a, &values_[6 * first], mode, ratio);
      const int64_t count = std::min<int64_t>(kLanes, n_ - first);
      for (int64_t k = 0; k < count; ++k) store(first + k, ratio[k]);
    }
  }

  // Whether the IoU of a with any box, as a T, is above the threshold.
  template <typename T>
  bool any_above(const RotatedBox& a, T threshold) const {
    for (int64_t first = 0; first < n_; first += kLanes) {
      double ratio[kLanes] = {};
      overlaps_of_group(a, &values_[6 * first], kIou, ratio);
      const int64_t count = std::min<int64_t>(kLanes, n_ - first);
      for (int64_t k = 0; k < count; ++k) {
        if (static_cast<T>(ratio[k]) > threshold) return true;
      }
    }
    return false;
  }

 private:
  static constexpr int64_t kLanes = 8;

  void overlaps_of_group(const RotatedBox& a, const double* group, int64_t mode,
                         double* ratio) const {
    const double *x = group, *y = x + kLanes, *w = y + kLanes, *h = w + kLanes, *cos = h + kLanes,
                 *sin = cos + kLanes;
    double px[kLanes], py[kLanes], pcos[kLanes], psin[kLanes], touch[kLanes];
    double together = 0;
    const double zero = zero_, one = one_;
    for (int64_t k = 0; k < kLanes; ++k) {
      const Pose<double> p = pose(a, {x[k], y[k], w[k], h[k], cos[k], sin[k]});
      px[k] = p.x, py[k] = p.y, pcos[k] = p.cos, psin[k] = p.sin;
      touch[k] = are_apart(p, a.w, a.h, w[k], h[k]) ? 0.0 : 1.0;
      together += touch[k];
    }
    if (together == 0) return;
    for (int64_t k = 0; k < kLanes; ++k) {
      const double shared = touch[k] * shared_area<double>({px[k], py[k], pcos[k], psin[k]}, a.w,
                                                           a.h, w[k], h[k], zero, one);
      ratio[k] = overlap_ratio(shared, a.area(), 4 * w[k] * h[k], mode);
    }
  }

  int64_t n_ = 0;
  double zero_ = 0, one_ = 1;   // variables, see shared_area
  std::vector<double> values_;  // groups of kLanes boxes: x of each, then y of each, ...
};

}  // namespace okulo
