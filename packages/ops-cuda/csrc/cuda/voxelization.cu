// Grouping points by voxel sorts them; there PyTorch's own sort on the GPU is the kernel.
#include <cmath>
#include <vector>

#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename A>
struct Grid {
  A low[3], size[3], end[3];
};

template <typename T>
__global__ void coordinates(int64_t n, const T* points, int64_t width, Grid<acc_t<T>> grid,
                            int32_t* result) {
  OKULO_CUDA_LOOP(i, n) {
    acc_t<T> cell[3];
    bool inside = true;
    for (int d = 0; d < 3; ++d) {
      cell[d] = floor((static_cast<acc_t<T>>(points[i * width + d]) - grid.low[d]) / grid.size[d]);
      inside = inside && cell[d] >= 0 && cell[d] < grid.end[d];
    }
    for (int d = 0; d < 3; ++d) {
      result[i * 3 + 2 - d] = inside ? static_cast<int32_t>(cell[d]) : -1;
    }
  }
}

Tensor voxel_coordinates(const Tensor& points, std::vector<double> low, std::vector<double> size,
                         std::vector<int64_t> grid) {
  const Tensor p = contiguous(points);
  STD_TORCH_CHECK(
      p.dim() == 2 && p.size(1) >= 3 && low.size() == 3 && size.size() == 3 && grid.size() == 3,
      "voxel_coordinates: expected points (N, F >= 3) and three limits");
  const int64_t shape[] = {p.size(0), 3};
  const Tensor result = torch::stable::new_empty(p, shape, ScalarType::Int);
  dispatch_floating(p, "voxel_coordinates", [&](auto zero) {
    using T = decltype(zero);
    Grid<acc_t<T>> cells;
    for (int d = 0; d < 3; ++d) {
      cells.low[d] = static_cast<acc_t<T>>(low[d]);
      cells.size[d] = static_cast<acc_t<T>>(size[d]);
      cells.end[d] = static_cast<acc_t<T>>(grid[d]);
    }
    launch(p, p.size(0), coordinates<T>, p.const_data_ptr<T>(), p.size(1), cells,
           result.mutable_data_ptr<int32_t>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("voxel_coordinates", TORCH_BOX(&voxel_coordinates));
}

}  // namespace okulo
