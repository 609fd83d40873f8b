#include "common/bbox_overlaps.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// columns: how many second boxes each first one meets; 0 if they are paired row by row.
template <typename T>
__global__ void compare(int64_t n, const T* first, const T* second, int64_t columns, bool of_first,
                        acc_t<T> offset, T* out) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    const Box<A> a = load_box<A>(first + 4 * (columns ? i / columns : i));
    const Box<A> b = load_box<A>(second + 4 * (columns ? i % columns : i));
    out[i] = static_cast<T>(
        overlap<A>(a, b, box_area(a, offset), box_area(b, offset), of_first, offset));
  }
}

Tensor bbox_overlaps(const Tensor& bboxes1, const Tensor& bboxes2, bool of_first, bool aligned,
                     int64_t offset) {
  const Tensor a = contiguous(bboxes1);
  const Tensor b = contiguous(bboxes2);
  const int64_t m = a.numel() / 4, n = b.numel() / 4;
  STD_TORCH_CHECK(a.scalar_type() == b.scalar_type() && (!aligned || m == n),
                  "bbox_overlaps: expected boxes of one dtype, equally many if aligned");
  const Tensor out =
      aligned ? torch::stable::new_empty(a, {m}) : torch::stable::new_empty(a, {m, n});
  dispatch_floating(a, "bbox_overlaps", [&](auto zero) {
    using T = decltype(zero);
    launch(a, out.numel(), compare<T>, a.const_data_ptr<T>(), b.const_data_ptr<T>(),
           aligned ? int64_t(0) : n, of_first, static_cast<acc_t<T>>(offset),
           out.mutable_data_ptr<T>());
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("bbox_overlaps", TORCH_BOX(&bbox_overlaps)); }

}  // namespace okulo
