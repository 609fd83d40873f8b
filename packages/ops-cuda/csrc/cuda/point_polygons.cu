#include "common/point_polygons.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename T>
__global__ void rectangles(int64_t n, const T* points, T* out) {
  OKULO_CUDA_LOOP(i, n) min_area_rectangle(points + 18 * i, out + 8 * i);
}

template <typename T>
__global__ void inside_of(int64_t n, const T* points, const T* polygons, int64_t count, T* out) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(item, n) {
    const T *point = points + 2 * (item / count), *row = polygons + 8 * (item % count);
    A corners[8];
    for (int k = 0; k < 8; ++k) corners[k] = static_cast<A>(row[k]);
    const A x = static_cast<A>(point[0]), y = static_cast<A>(point[1]);
    out[item] = static_cast<T>(is_inside(x, y, corners, 1) ? A(1) : A(0));
  }
}

Tensor min_area_polygons(const Tensor& pointsets) {
  const Tensor p = contiguous(pointsets);
  STD_TORCH_CHECK(p.size(1) == 18, "min_area_polygons: pointsets are (N, 18)");
  const Tensor corners = torch::stable::new_empty(p, {p.size(0), 8});
  dispatch_floating(p, "min_area_polygons", [&](auto zero) {
    using T = decltype(zero);
    launch(p, p.size(0), rectangles<T>, p.const_data_ptr<T>(), corners.mutable_data_ptr<T>());
  });
  return corners;
}

Tensor points_in_polygons(const Tensor& points, const Tensor& polygons) {
  const Tensor p = contiguous(points), q = contiguous(polygons);
  STD_TORCH_CHECK(p.size(1) == 2 && q.size(1) == 8 && p.scalar_type() == q.scalar_type(),
                  "points_in_polygons: points (B, 2) and polygons (M, 8) are of one dtype");
  const Tensor inside = torch::stable::new_empty(p, {p.size(0), q.size(0)});
  dispatch_floating(p, "points_in_polygons", [&](auto zero) {
    using T = decltype(zero);
    launch(p, inside.numel(), inside_of<T>, p.const_data_ptr<T>(), q.const_data_ptr<T>(), q.size(0),
           inside.mutable_data_ptr<T>());
  });
  return inside;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("min_area_polygons", TORCH_BOX(&min_area_polygons));
  m.impl("points_in_polygons", TORCH_BOX(&points_in_polygons));
}

}  // namespace okulo
