#include "common/point_polygons.h"

#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

Tensor min_area_polygons(const Tensor& pointsets) {
  const Tensor p = contiguous(pointsets);
  STD_TORCH_CHECK(p.size(1) == 18, "min_area_polygons: pointsets are (N, 18)");
  const Tensor corners = torch::stable::new_empty(p, {p.size(0), 8});
  dispatch_floating(p, "min_area_polygons", [&](auto zero) {
    using T = decltype(zero);
    const T* points = p.const_data_ptr<T>();
    T* out = corners.mutable_data_ptr<T>();
    parallel_rows(p.size(0), 2048,
                  [=](int64_t i) { min_area_rectangle(points + 18 * i, out + 8 * i); });
  });
  return corners;
}

// All first x, then all first y, ...
template <typename T>
std::vector<acc_t<T>> by_coordinate(const T* rows, int64_t count) {
  std::vector<acc_t<T>> result(8 * count);
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t k = 0; k < 8; ++k) {
      result[k * count + j] = static_cast<acc_t<T>>(rows[8 * j + k]);
    }
  }
  return result;
}

Tensor points_in_polygons(const Tensor& points, const Tensor& polygons) {
  const Tensor p = contiguous(points), q = contiguous(polygons);
  STD_TORCH_CHECK(p.size(1) == 2 && q.size(1) == 8 && p.scalar_type() == q.scalar_type(),
                  "points_in_polygons: points (B, 2) and polygons (M, 8) are of one dtype");
  const int64_t count = q.size(0);
  const Tensor inside = torch::stable::new_empty(p, {p.size(0), count});
  dispatch_floating(p, "points_in_polygons", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const std::vector<A> corners = by_coordinate(q.const_data_ptr<T>(), count);
    const A* first = corners.data();
    const T* point = p.const_data_ptr<T>();
    T* out = inside.mutable_data_ptr<T>();
    parallel_rows(p.size(0), 16 * count, [=](int64_t i) {
      const A x = static_cast<A>(point[2 * i]), y = static_cast<A>(point[2 * i + 1]);
      T* row = out + i * count;
      for (int64_t j = 0; j < count; ++j) {
        row[j] = static_cast<T>(is_inside(x, y, first + j, count) ? A(1) : A(0));
      }
    });
  });
  return inside;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("min_area_polygons", TORCH_BOX(&min_area_polygons));
  m.impl("points_in_polygons", TORCH_BOX(&points_in_polygons));
}

}  // namespace okulo
