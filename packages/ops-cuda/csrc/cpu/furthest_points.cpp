#include <algorithm>
#include <limits>

#include "cpu/parallel.h"
#include "cpu/points.h"

namespace okulo {
namespace {

constexpr int64_t kLanes = 16;

// Index of the greatest of n values, the lowest of equal ones; each lane keeps its own.
template <typename A>
int64_t index_of_greatest(const A* values, int64_t n) {
  A best[kLanes];
  int64_t at[kLanes];
  std::fill(best, best + kLanes, -std::numeric_limits<A>::infinity());
  std::fill(at, at + kLanes, 0);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    int any = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) any |= values[i + lane] > best[lane];
    if (!any) continue;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const bool greater = values[i + lane] > best[lane];
      best[lane] = greater ? values[i + lane] : best[lane];
      at[lane] = greater ? i + lane : at[lane];
    }
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) {
    if (values[i] > best[lane]) best[lane] = values[i], at[lane] = i;
  }
  int64_t lane = 0;
  for (int64_t l = 1; l < kLanes; ++l) {
    if (best[l] > best[lane] || (best[l] == best[lane] && at[l] < at[lane])) lane = l;
  }
  return at[lane];
}

// distances(last, begin, count, out): of points begin .. begin + count - 1 to the one chosen last.
template <typename A, typename Distances>
void choose(int64_t n, int64_t count, int64_t* chosen, const Distances& distances) {
  std::vector<A> least(n, std::numeric_limits<A>::infinity());
  A d[kChunk];
  chosen[0] = 0;
  for (int64_t k = 1; k < count; ++k) {
    for (int64_t begin = 0; begin < n; begin += kChunk) {
      const int64_t size = std::min(kChunk, n - begin);
      distances(chosen[k - 1], begin, size, d);
      A* l = least.data() + begin;
      for (int64_t i = 0; i < size; ++i) l[i] = d[i] < l[i] ? d[i] : l[i];
    }
    chosen[k] = index_of_greatest(least.data(), n);
  }
}

// rows(b, index of the b-th cloud).
template <typename Row>
Tensor for_each_cloud(const Tensor& input, int64_t count, const Row& row) {
  STD_TORCH_CHECK(input.dim() == 3 && input.size(1) >= 1 && count >= 1,
                  "furthest_point_sample: expected (B, N, D) with N >= 1 and a count >= 1");
  const Tensor index = torch::stable::new_empty(input, {input.size(0), count}, ScalarType::Long);
  int64_t* out = index.mutable_data_ptr<int64_t>();
  parallel_rows(input.size(0), input.size(1) * count, [&](int64_t b) { row(b, out + b * count); });
  return index;
}

Tensor furthest_point_sample(const Tensor& points, int64_t count) {
  const Tensor p = contiguous(points);
  return for_each_cloud(p, count, [&](int64_t b, int64_t* out) {
    const int64_t n = p.size(1), dims = p.size(2);
    dispatch_floating(p, "furthest_point_sample", [&](auto zero) {
      using T = decltype(zero);
      using A = acc_t<T>;
      const auto cloud = coordinates(p.const_data_ptr<T>() + b * n * dims, n, dims);
      std::vector<A> center(dims);
      choose<A>(n, count, out, [&](int64_t last, int64_t begin, int64_t size, A* d) {
        for (int64_t i = 0; i < dims; ++i) center[i] = cloud[i * n + last];
        squared_distances(cloud, n, dims, center.data(), begin, size, d);
      });
    });
  });
}

Tensor furthest_point_sample_with_dist(const Tensor& dist, int64_t count) {
  const Tensor table = contiguous(dist);
  STD_TORCH_CHECK(dist.dim() == 3 && dist.size(1) == dist.size(2),
                  "furthest_point_sample_with_dist: expected (B, N, N)");
  return for_each_cloud(table, count, [&](int64_t b, int64_t* out) {
    const int64_t n = table.size(1);
    dispatch_floating(table, "furthest_point_sample_with_dist", [&](auto zero) {
      using T = decltype(zero);
      using A = acc_t<T>;
      const T* rows = table.const_data_ptr<T>() + b * n * n;
      choose<A>(n, count, out, [&](int64_t last, int64_t begin, int64_t size, A* d) {
        const T* from = rows + last * n + begin;
        for (int64_t i = 0; i < size; ++i) d[i] = static_cast<A>(from[i]);
      });
    });
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("furthest_point_sample", TORCH_BOX(&furthest_point_sample));
  m.impl("furthest_point_sample_with_dist", TORCH_BOX(&furthest_point_sample_with_dist));
}

}  // namespace okulo
