#include <tuple>

#include "cuda/launch.h"

namespace okulo {
namespace {

// Added in the order of the coordinates as the meaning does.
template <typename T>
__device__ acc_t<T> squared_distance(const T* point, const T* center, int64_t dims) {
  acc_t<T> total = 0;
  for (int64_t d = 0; d < dims; ++d) {
    const acc_t<T> step = static_cast<acc_t<T>>(center[d]) - static_cast<acc_t<T>>(point[d]);
    total += step * step;
  }
  return total;
}

// One thread for each centre keeps its k nearest in the result itself, ascending; all threads of a
// warp read the same point at a time.
template <typename T>
__global__ void nearest(int64_t rows, const T* points, const T* centers, int64_t n, int64_t m,
                        int64_t dims, int64_t k, int64_t* index, acc_t<T>* squared) {
  OKULO_CUDA_LOOP(row, rows) {
    const T* cloud = points + row / m * n * dims;
    int64_t* at = index + row * k;
    acc_t<T>* best = squared + row * k;
    int64_t found = 0;
    acc_t<T> worst = 0;
    for (int64_t i = 0; i < n; ++i) {
      const acc_t<T> d = squared_distance(cloud + i * dims, centers + row * dims, dims);
      if (found == k && !(d < worst)) continue;
      int64_t place = found < k ? found++ : k - 1;
      for (; place > 0 && best[place - 1] > d; --place) {
        best[place] = best[place - 1];
        at[place] = at[place - 1];
      }
      best[place] = d;
      at[place] = i;
      worst = best[found - 1];
    }
  }
}

std::tuple<Tensor, Tensor> nearest_points(const Tensor& points, const Tensor& centers, int64_t k) {
  const Tensor p = contiguous(points);
  const Tensor c = contiguous(centers);
  STD_TORCH_CHECK(p.dim() == 3 && c.dim() == 3 && p.size(0) == c.size(0) && p.size(2) == c.size(2),
                  "nearest_points: points and centers must be (B, N, D) and (B, M, D)");
  STD_TORCH_CHECK(k >= 1 && k <= p.size(1), "nearest_points: expected k from 1 to ", p.size(1),
                  ", got ", k);
  const int64_t shape[] = {c.size(0), c.size(1), k};
  const Tensor index = torch::stable::new_empty(p, shape, ScalarType::Long);
  const Tensor squared = torch::stable::new_empty(p, shape, accumulate_type(p));
  dispatch_floating(p, "nearest_points", [&](auto zero) {
    using T = decltype(zero);
    launch(p, c.size(0) * c.size(1), nearest<T>, p.const_data_ptr<T>(), c.const_data_ptr<T>(),
           p.size(1), c.size(1), p.size(2), k, index.mutable_data_ptr<int64_t>(),
           squared.mutable_data_ptr<acc_t<T>>());
  });
  return {index, squared};
}

struct Clouds {
  const int64_t* point_ends;
  const int64_t* center_ends;
  int64_t count;
  int64_t points;
};

template <typename T>
__global__ void in_ball(int64_t rows, const T* points, const T* centers, Clouds clouds,
                        acc_t<T> low, acc_t<T> high, int64_t samples, int64_t* index) {
  OKULO_CUDA_LOOP(row, rows) {
    int64_t b = 0;
    while (b < clouds.count && row >= clouds.center_ends[b]) ++b;
    int64_t begin = 0, end = 0;
    if (b < clouds.count) {  // counts are not trusted: reading them first would be a wait
      begin = b == 0 ? 0 : clouds.point_ends[b - 1];
      begin = begin < 0 ? 0 : begin;
      end = clouds.point_ends[b] < clouds.points ? clouds.point_ends[b] : clouds.points;
    }
    int64_t* out = index + row * samples;
    int64_t found = 0;
    for (int64_t i = begin; i < end && found < samples; ++i) {
      const acc_t<T> d = squared_distance(points + i * 3, centers + row * 3, 3);
      if (d == 0 || (d >= low && d < high)) out[found++] = i - begin;
    }
    const int64_t filling = found > 0 ? out[0] : 0;
    for (; found < samples; ++found) out[found] = filling;
  }
}

Tensor ball_query(const Tensor& points, const Tensor& centers, const Tensor& point_ends,
                  const Tensor& center_ends, double min_radius, double max_radius,
                  int64_t samples) {
  const Tensor p = contiguous(points), c = contiguous(centers);
  const Tensor p_ends = contiguous(point_ends), c_ends = contiguous(center_ends);
  STD_TORCH_CHECK(p.dim() == 2 && c.dim() == 2 && p.size(1) == 3 && c.size(1) == 3 &&
                      p_ends.numel() == c_ends.numel() && samples >= 1,
                  "ball_query: points and centers must be (N, 3) and (M, 3) of as many clouds");
  const int64_t shape[] = {c.size(0), samples};
  const Tensor index = torch::stable::new_empty(p, shape, ScalarType::Long);
  const Clouds clouds{p_ends.const_data_ptr<int64_t>(), c_ends.const_data_ptr<int64_t>(),
                      p_ends.numel(), p.size(0)};
  dispatch_floating(p, "ball_query", [&](auto zero) {
    using T = decltype(zero);
    launch(p, c.size(0), in_ball<T>, p.const_data_ptr<T>(), c.const_data_ptr<T>(), clouds,
           static_cast<acc_t<T>>(min_radius * min_radius),
           static_cast<acc_t<T>>(max_radius * max_radius), samples,
           index.mutable_data_ptr<int64_t>());
  });
  return index;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("nearest_points", TORCH_BOX(&nearest_points));
  m.impl("ball_query", TORCH_BOX(&ball_query));
}

}  // namespace okulo
