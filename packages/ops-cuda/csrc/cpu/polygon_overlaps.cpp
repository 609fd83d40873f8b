#include <vector>

#include "common/dispatch.h"
#include "common/polygon.h"
#include "cpu/parallel.h"
#include "cpu/suppression.h"

namespace okulo {
namespace {

template <typename T>
std::vector<Polygon> polygons(const Tensor& rows) {
  const int64_t corners = rows.size(1) / 2;
  STD_TORCH_CHECK(corners > 0 && corners <= kCorners, "polygons have 1 to ", kCorners, " corners");
  std::vector<Polygon> result;
  const T* row = rows.const_data_ptr<T>();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    result.push_back(polygon(row + 2 * corners * i, corners));
  }
  return result;
}

Tensor polygon_overlaps(const Tensor& polygons1, const Tensor& polygons2, bool iof, bool aligned) {
  const Tensor a = contiguous(polygons1), b = contiguous(polygons2);
  const int64_t n = a.size(0), m = b.size(0);
  STD_TORCH_CHECK((!aligned || n == m) && a.scalar_type() == b.scalar_type(),
                  "polygon_overlaps: polygons have one dtype, and are equally many if aligned");
  const Tensor result = aligned ? torch::stable::new_empty(a, {n}, accumulate_type(a))
                                : torch::stable::new_empty(a, {n, m}, accumulate_type(a));
  dispatch_floating(a, "polygon_overlaps", [&](auto zero) {
    using T = decltype(zero);
    const std::vector<Polygon> first = polygons<T>(a), second = polygons<T>(b);
    acc_t<T>* out = result.mutable_data_ptr<acc_t<T>>();
    if (aligned) {
      parallel_rows(n, 512, [&](int64_t i) {
        out[i] = static_cast<acc_t<T>>(overlap(first[i], second[i], iof));
      });
      return;
    }
    parallel_rows(n, 64 * m, [&](int64_t i) {
      for (int64_t j = 0; j < m; ++j) {
        out[i * m + j] = static_cast<acc_t<T>>(overlap(first[i], second[j], iof));
      }
    });
  });
  return result;
}

class KeptPolygons {
 public:
  void add(const Polygon& polygon) { kept_.push_back(polygon); }

  template <typename T>
  bool any_above(const Polygon& polygon, T threshold) const {
    for (const Polygon& other : kept_) {
      if (static_cast<T>(overlap(other, polygon, false)) > threshold) return true;
    }
    return false;
  }

 private:
  std::vector<Polygon> kept_;
};

Tensor nms_quadri(const Tensor& rows, const std::optional<Tensor>& idxs, double iou_threshold) {
  const Tensor p = contiguous(rows);
  STD_TORCH_CHECK(p.size(1) == 8, "nms_quadri: polygons are (N, 8)");
  const int64_t n = p.size(0);
  const Tensor kept = torch::stable::new_empty(p, {n}, ScalarType::Bool);
  dispatch_floating(p, "nms_quadri", [&](auto zero) {
    using T = decltype(zero);
    const T* row = p.const_data_ptr<T>();
    suppress<KeptPolygons>(
        n, contiguous(idxs), static_cast<acc_t<T>>(iou_threshold),
        [=](int64_t i) { return polygon(row + 8 * i, 4); }, kept.mutable_data_ptr<bool>());
  });
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("polygon_overlaps", TORCH_BOX(&polygon_overlaps));
  m.impl("nms_quadri", TORCH_BOX(&nms_quadri));
}

}  // namespace okulo
