#include "common/rotated_box.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// others: 1 if each box is compared with the box of its own row, else the number of second boxes.
template <typename T>
__global__ void overlaps(int64_t n, const T* boxes1, const T* boxes2, int64_t others, bool aligned,
                         double turn, int64_t mode, acc_t<T>* out) {
  OKULO_CUDA_LOOP(i, n) {
    const RotatedBox a = rotated_box(boxes1 + 5 * (i / others), turn);
    const RotatedBox b = rotated_box(boxes2 + 5 * (aligned ? i : i % others), turn);
    out[i] = static_cast<acc_t<T>>(overlap(a, b, mode));
  }
}

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
    launch(a, result.numel(), overlaps<T>, a.const_data_ptr<T>(), b.const_data_ptr<T>(),
           aligned ? int64_t{1} : m, aligned, turn, mode, result.mutable_data_ptr<acc_t<T>>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("box_iou_rotated", TORCH_BOX(&box_iou_rotated));
}

}  // namespace okulo
