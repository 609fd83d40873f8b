#include "common/polygon.h"
#include "cuda/suppression.h"

namespace okulo {
namespace {

// others: 1 if each polygon is compared with that of its own row, else how many second ones.
template <typename T>
__global__ void overlaps(int64_t n, const T* rows1, int64_t corners1, const T* rows2,
                         int64_t corners2, int64_t others, bool aligned, bool iof, acc_t<T>* out) {
  OKULO_CUDA_LOOP(i, n) {
    const Polygon a = polygon(rows1 + 2 * corners1 * (i / others), corners1);
    const Polygon b = polygon(rows2 + 2 * corners2 * (aligned ? i : i % others), corners2);
    out[i] = static_cast<acc_t<T>>(overlap(a, b, iof));
  }
}

Tensor polygon_overlaps(const Tensor& polygons1, const Tensor& polygons2, bool iof, bool aligned) {
  const Tensor a = contiguous(polygons1), b = contiguous(polygons2);
  const int64_t n = a.size(0), m = b.size(0), corners1 = a.size(1) / 2, corners2 = b.size(1) / 2;
  STD_TORCH_CHECK((!aligned || n == m) && a.scalar_type() == b.scalar_type(),
                  "polygon_overlaps: polygons have one dtype, and are equally many if aligned");
  STD_TORCH_CHECK(corners1 > 0 && corners1 <= kCorners && corners2 > 0 && corners2 <= kCorners,
                  "polygons have 1 to ", kCorners, " corners");
  const Tensor result = aligned ? torch::stable::new_empty(a, {n}, accumulate_type(a))
                                : torch::stable::new_empty(a, {n, m}, accumulate_type(a));
  dispatch_floating(a, "polygon_overlaps", [&](auto zero) {
    using T = decltype(zero);
    launch(a, result.numel(), overlaps<T>, a.const_data_ptr<T>(), corners1, b.const_data_ptr<T>(),
           corners2, aligned ? int64_t{1} : m, aligned, iof, result.mutable_data_ptr<acc_t<T>>());
  });
  return result;
}

template <typename T>
struct Quadrilaterals {
  const T* rows;
  acc_t<T> threshold;

  __device__ Polygon load(int64_t i) const { return polygon(rows + 8 * i, 4); }
  __device__ bool over(const Polygon& earlier, const Polygon& later) const {
    return static_cast<acc_t<T>>(overlap(earlier, later, false)) > threshold;
  }
};

Tensor nms_quadri(const Tensor& rows, const std::optional<Tensor>& idxs, double iou_threshold) {
  const Tensor p = contiguous(rows);
  STD_TORCH_CHECK(p.size(1) == 8, "nms_quadri: polygons are (N, 8)");
  const int64_t n = p.size(0);
  const Tensor kept = torch::stable::new_empty(p, {n}, ScalarType::Bool);
  dispatch_floating(p, "nms_quadri", [&](auto zero) {
    using T = decltype(zero);
    const Quadrilaterals<T> ranked{p.const_data_ptr<T>(), static_cast<acc_t<T>>(iou_threshold)};
    suppress(p, n, contiguous(idxs), ranked, kept);
  });
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("polygon_overlaps", TORCH_BOX(&polygon_overlaps));
  m.impl("nms_quadri", TORCH_BOX(&nms_quadri));
}

}  // namespace okulo
