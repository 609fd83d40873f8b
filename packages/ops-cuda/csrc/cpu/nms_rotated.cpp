#include "common/dispatch.h"
#include "cpu/rotated_box.h"
#include "cpu/suppression.h"

namespace okulo {
namespace {

Tensor nms_rotated(const Tensor& boxes, const std::optional<Tensor>& idxs, double iou_threshold,
                   double turn) {
  const Tensor b = contiguous(boxes);
  const int64_t n = b.numel() / 5;
  const Tensor kept = torch::stable::new_empty(b, {n}, ScalarType::Bool);
  dispatch_floating(b, "nms_rotated", [&](auto zero) {
    using T = decltype(zero);
    const T* rows = b.const_data_ptr<T>();
    suppress<RotatedBoxes>(
        n, contiguous(idxs), static_cast<acc_t<T>>(iou_threshold),
        [=](int64_t i) { return rotated_box(rows + 5 * i, turn); }, kept.mutable_data_ptr<bool>());
  });
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated)); }

}  // namespace okulo
