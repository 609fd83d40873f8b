// Maximum over the cells of each bin of a box: one thread for each bin and channel.
#include <tuple>

#include "common/roi_pool.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

struct PoolShape {
  int64_t images, channels, rows, columns, height, width;
};

// n: index into the output (K, C, height, width); the plane that it reads, or -1.
template <typename A>
__device__ int64_t plane_of(int64_t n, const A* rois, const PoolShape& s) {
  const int64_t channel = n / (s.height * s.width) % s.channels;
  const A image = rois[5 * (n / (s.height * s.width * s.channels))];
  if (!(image >= 0 && image < static_cast<A>(s.images))) return -1;
  return static_cast<int64_t>(image) * s.channels + channel;
}

template <typename T>
__global__ void pool_cells(int64_t n, const T* in, const acc_t<T>* rois, PoolShape s,
                           acc_t<T> scale, bool rounded, T* out, int64_t* cells) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(index, n) {
    const int64_t j = index % s.width, i = index / s.width % s.height;
    const A* box = rois + 5 * (index / (s.height * s.width * s.channels));
    const int64_t plane = plane_of(index, rois, s);
    const auto y = pool_axis(box[2], box[4], scale, s.height, rounded);
    const auto x = pool_axis(box[1], box[3], scale, s.width, rounded);
    const int64_t last_y = plane < 0 ? 0 : y.last(i, s.rows);
    const int64_t first_x = x.first(j, s.columns), last_x = x.last(j, s.columns);
    const T* from = in + (plane < 0 ? 0 : plane) * s.rows * s.columns;
    A most = 0;
    int64_t best = -1;
    for (int64_t row = y.first(i, s.rows); row < last_y; ++row) {
      for (int64_t at = row * s.columns + first_x; at < row * s.columns + last_x; ++at) {
        const A value = static_cast<A>(from[at]);
        if (best < 0 || value > most || (value != value && most == most)) {
          most = value;
          best = at;
        }
      }
    }
    out[index] = static_cast<T>(most);
    cells[index] = best;
  }
}

template <typename T>
__global__ void spread_cells(int64_t n, const T* grad, const acc_t<T>* rois, const int64_t* cells,
                             PoolShape s, acc_t<T>* sums) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t plane = plane_of(index, rois, s), area = s.rows * s.columns;
    if (plane >= 0 && cells[index] >= 0 && cells[index] < area)
      atomicAdd(sums + plane * area + cells[index], static_cast<acc_t<T>>(grad[index]));
  }
}

PoolShape shape_of(const Tensor& input, int64_t height, int64_t width) {
  return {input.size(0), input.size(1), input.size(2), input.size(3), height, width};
}

std::tuple<Tensor, Tensor> roi_pool(const Tensor& input, const Tensor& rois, double scale,
                                    int64_t height, int64_t width, bool rounded) {
  const Tensor x = contiguous(input);
  const Tensor r = contiguous(torch::stable::to(rois, accumulate_type(x)));
  const Tensor pooled = torch::stable::new_empty(x, {r.size(0), x.size(1), height, width});
  const Tensor best =
      torch::stable::new_empty(x, {r.size(0), x.size(1), height, width}, ScalarType::Long);
  dispatch_floating(x, "roi_pool", [&](auto zero) {
    using T = decltype(zero);
    launch(x, pooled.numel(), pool_cells<T>, x.const_data_ptr<T>(), r.const_data_ptr<acc_t<T>>(),
           shape_of(x, height, width), static_cast<acc_t<T>>(scale), rounded,
           pooled.mutable_data_ptr<T>(), best.mutable_data_ptr<int64_t>());
  });
  return {pooled, best};
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, double,
                         int64_t height, int64_t width, bool, const Tensor& best) {
  const Tensor g = contiguous(grad);
  const Tensor r = contiguous(torch::stable::to(rois, accumulate_type(input)));
  const Tensor cells = contiguous(best);
  const Tensor sums = torch::stable::new_zeros(input, input.sizes(), accumulate_type(input));
  dispatch_floating(g, "roi_pool_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(g, g.numel(), spread_cells<T>, g.const_data_ptr<T>(), r.const_data_ptr<acc_t<T>>(),
           cells.const_data_ptr<int64_t>(), shape_of(input, height, width),
           sums.mutable_data_ptr<acc_t<T>>());
  });
  return torch::stable::to(sums, input.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward));
}

}  // namespace okulo
