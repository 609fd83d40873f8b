#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int kBlock = 512;

// Distances of point i of a cloud to the one chosen last.
template <typename T>
struct ByCoordinates {
  const T* points;  // (B, N, D)
  int64_t n, dims;

  __device__ acc_t<T> operator()(int64_t b, int64_t last, int64_t i) const {
    const T* x = points + (b * n + i) * dims;
    const T* y = points + (b * n + last) * dims;
    acc_t<T> total = 0;
    for (int64_t d = 0; d < dims; ++d) {
      const acc_t<T> step = static_cast<acc_t<T>>(y[d]) - static_cast<acc_t<T>>(x[d]);
      total += step * step;
    }
    return total;
  }
};

template <typename T>
struct ByTable {
  const T* table;  // (B, N, N)
  int64_t n;

  __device__ acc_t<T> operator()(int64_t b, int64_t last, int64_t i) const {
    return static_cast<acc_t<T>>(table[(b * n + last) * n + i]);
  }
};

template <typename A>
__device__ void keep_greater(A* value, int64_t* at, A other, int64_t other_at) {
  if (other > *value || (other == *value && other_at < *at)) {
    *value = other;
    *at = other_at;
  }
}

// One block for each cloud. least (B, N): distance to the chosen set, infinity at first.
template <typename A, typename Distance>
__global__ void choose(Distance distance, int64_t n, int64_t count, A* least, int64_t* index) {
  __shared__ A values[kBlock];
  __shared__ int64_t places[kBlock];
  const int64_t b = blockIdx.x;
  int64_t last = 0;
  for (int64_t k = 0; k < count; ++k) {
    if (threadIdx.x == 0) index[b * count + k] = last;
    A value = -INFINITY;
    int64_t at = 0;
    for (int64_t i = threadIdx.x; i < n; i += kBlock) {
      const A d = distance(b, last, i);
      const A before = k == 0 ? static_cast<A>(INFINITY) : least[b * n + i];
      const A now = d < before ? d : before;
      least[b * n + i] = now;
      if (now > value) value = now, at = i;
    }
    values[threadIdx.x] = value;
    places[threadIdx.x] = at;
    __syncthreads();
    for (int half = kBlock / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) {
        keep_greater(&values[threadIdx.x], &places[threadIdx.x], values[threadIdx.x + half],
                     places[threadIdx.x + half]);
      }
      __syncthreads();
    }
    last = places[0];
    __syncthreads();  // before the next round writes places[0]
  }
}

template <typename T, typename Distance>
Tensor sample(const Tensor& input, int64_t count, const Distance& distance) {
  const int64_t batch = input.size(0), n = input.size(1);
  STD_TORCH_CHECK(n >= 1 && count >= 1, "furthest_point_sample: expected N >= 1 and a count >= 1");
  const int64_t shape[] = {batch, count};
  const int64_t scratch[] = {batch, n};
  const Tensor index = torch::stable::new_empty(input, shape, ScalarType::Long);
  const Tensor least = torch::stable::new_empty(input, scratch, accumulate_type(input));
  if (batch == 0) return index;
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  choose<acc_t<T>><<<static_cast<unsigned>(batch), kBlock, 0, current_stream(input)>>>(
      distance, n, count, least.mutable_data_ptr<acc_t<T>>(), index.mutable_data_ptr<int64_t>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return index;
}

Tensor furthest_point_sample(const Tensor& points, int64_t count) {
  const Tensor p = contiguous(points);
  STD_TORCH_CHECK(p.dim() == 3, "furthest_point_sample: expected (B, N, D)");
  Tensor result = p;
  dispatch_floating(p, "furthest_point_sample", [&](auto zero) {
    using T = decltype(zero);
    result = sample<T>(p, count, ByCoordinates<T>{p.const_data_ptr<T>(), p.size(1), p.size(2)});
  });
  return result;
}

Tensor furthest_point_sample_with_dist(const Tensor& dist, int64_t count) {
  const Tensor table = contiguous(dist);
  STD_TORCH_CHECK(dist.dim() == 3 && dist.size(1) == dist.size(2),
                  "furthest_point_sample_with_dist: expected (B, N, N)");
  Tensor result = table;
  dispatch_floating(table, "furthest_point_sample_with_dist", [&](auto zero) {
    using T = decltype(zero);
    result = sample<T>(table, count, ByTable<T>{table.const_data_ptr<T>(), table.size(1)});
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("furthest_point_sample", TORCH_BOX(&furthest_point_sample));
  m.impl("furthest_point_sample_with_dist", TORCH_BOX(&furthest_point_sample_with_dist));
}

}  // namespace okulo
