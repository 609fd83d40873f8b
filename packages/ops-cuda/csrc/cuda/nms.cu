#include "common/boxes.h"
#include "cuda/suppression.h"

namespace okulo {
namespace {

// touching: the threshold itself suppresses, too.
template <typename T, bool touching = false>
struct UprightBoxes {
  using A = acc_t<T>;
  const T* rows;
  A threshold, offset;

  __device__ Box<A> load(int64_t i) const { return load_box<A>(rows + 4 * i); }
  __device__ bool over(const Box<A>& earlier, const Box<A>& later) const {
    const A shared = shared_area(earlier, later, offset);
    const A both = box_area(earlier, offset) + box_area(later, offset);
    const A iou = shared / (both - shared);
    return touching ? iou >= threshold : iou > threshold;
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

// Of each box the first kept one that suppresses it, itself if it is kept.
template <typename Shapes>
__global__ void find_owners(int64_t n, Shapes shapes, const bool* kept, int64_t* owner) {
  OKULO_CUDA_LOOP(i, n) {
    const auto shape = shapes.load(i);
    int64_t first = kept[i] ? i : 0;
    while (first < i && !(kept[first] && shapes.over(shapes.load(first), shape))) ++first;
    owner[i] = first;
  }
}

Tensor nms_match(const Tensor& boxes, double iou_threshold) {
  const Tensor b = contiguous(boxes);
  const int64_t n = b.numel() / 4;
  const Tensor kept = torch::stable::new_empty(b, {n}, ScalarType::Bool);
  const Tensor owner = torch::stable::new_empty(b, {n}, ScalarType::Long);
  dispatch_floating(b, "nms_match", [&](auto zero) {
    using T = decltype(zero);
    using Boxes = UprightBoxes<T, true>;
    const Boxes ranked{b.const_data_ptr<T>(), static_cast<acc_t<T>>(iou_threshold), 0};
    suppress(b, n, std::nullopt, ranked, kept);
    launch(b, n, find_owners<Boxes>, ranked, kept.const_data_ptr<bool>(),
           owner.mutable_data_ptr<int64_t>());
  });
  return owner;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("nms_match", TORCH_BOX(&nms_match));
}

}  // namespace okulo
