#include "common/rotated_box.h"
#include "cuda/suppression.h"

namespace okulo {
namespace {

template <typename T>
struct Boxes {
  const T* rows;
  double turn;
  acc_t<T> threshold;

  __device__ RotatedBox load(int64_t i) const { return rotated_box(rows + 5 * i, turn); }
  __device__ bool over(const RotatedBox& earlier, const RotatedBox& later) const {
    return static_cast<acc_t<T>>(overlap(later, earlier, kIou)) > threshold;
  }
};

Tensor nms_rotated(const Tensor& boxes, const std::optional<Tensor>& idxs, double iou_threshold,
                   double turn) {
  const Tensor b = contiguous(boxes);
  const int64_t n = b.numel() / 5;
  const Tensor kept = torch::stable::new_empty(b, {n}, ScalarType::Bool);
  dispatch_floating(b, "nms_rotated", [&](auto zero) {
    using T = decltype(zero);
    const Boxes<T> ranked{b.const_data_ptr<T>(), turn, static_cast<acc_t<T>>(iou_threshold)};
    suppress(b, n, contiguous(idxs), ranked, kept);
  });
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated)); }

}  // namespace okulo
