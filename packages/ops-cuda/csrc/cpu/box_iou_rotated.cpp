#include "common/dispatch.h"
#include "cpu/parallel.h"
#include "cpu/rotated_box.h"

namespace okulo {
namespace {

Tensor box_iou_rotated(const Tensor& boxes1, const Tensor& boxes2, double turn, int64_t mode,
                       bool aligned) {
  const Tensor a = contiguous(boxes1);
  const Tensor b = contiguous(boxes2);
  const int64_t n = a.size(0), m = b.size(0);
  STD_TORCH_CHECK(a.size(1) == 5 && b.size(1) == 5 && (!aligned || n == m) &&
                      a.scalar_type() == b.scalar_type(),
                  "box_iou_rotated: boxes are (N, 5) and (M, 5) of one dtype, N = M if aligned");
  const Tensor result = aligned ? torch::stable::new_empty(a, {n}, accumulate_type(a))
                                : torch::stable::new_empty(a, {n, m}, accumulate_type(a));
  dispatch_floating(a, "box_iou_rotated", [&](auto zero) {
    using T = decltype(zero);
    using R = acc_t<T>;
    R* out = result.mutable_data_ptr<R>();
    const T* rows = a.const_data_ptr<T>();
    const T* others = b.const_data_ptr<T>();
    if (aligned) {
      parallel_rows(n, 128, [&](int64_t i) {
        const RotatedBox one = rotated_box(rows + 5 * i, turn);
        out[i] = static_cast<R>(overlap(one, rotated_box(others + 5 * i, turn), mode));
      });
      return;
    }
    RotatedBoxes all;
    for (int64_t j = 0; j < m; ++j) all.add(rotated_box(others + 5 * j, turn));
    parallel_rows(n, 16 * m, [&](int64_t i) {
      R* row = out + i * m;
      all.overlaps(rotated_box(rows + 5 * i, turn), mode,
                   [=](int64_t j, double ratio) { row[j] = static_cast<R>(ratio); });
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("box_iou_rotated", TORCH_BOX(&box_iou_rotated)); }

}  // namespace okulo
