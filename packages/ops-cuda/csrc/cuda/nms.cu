#include "common/boxes.h"
#include "cuda/suppression.h"

namespace okulo {
namespace {

template <typename T>
struct UprightBoxes {
  using A = acc_t<T>;
  const T* rows;
  A threshold, offset;

  __device__ Box<A> load(int64_t i) const { return load_box<A>(rows + 4 * i); }
  __device__ bool over(const Box<A>& earlier, const Box<A>& later) const {
    const A shared = shared_area(earlier, later, offset);
    const A both = box_area(earlier, offset) + box_area(later, offset);
    return shared / (both - shared) > threshold;
  }
};

Tensor nms(const Tensor& boxes, const std::optional<Tensor>& idxs, double iou_threshold,
           int64_t offset) {
  const Tensor b = contiguous(boxes);
  const int64_t n = b.numel() / 4;
  const Tensor kept = torch::stable::new_empty(b, {n}, ScalarType::Bool);
  dispatch_floating(b, "nms", [&](auto zero) {
    using T = decltype(zero);
    const UprightBoxes<T> ranked{b.const_data_ptr<T>(), static_cast<acc_t<T>>(iou_threshold),
                                 static_cast<acc_t<T>>(offset)};
    suppress(b, n, contiguous(idxs), ranked, kept);
  });
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("nms", TORCH_BOX(&nms)); }

}  // namespace okulo
