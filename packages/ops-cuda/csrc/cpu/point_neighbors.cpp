#include <algorithm>

#include "cpu/parallel.h"
#include "cpu/points.h"

namespace okulo {
namespace {

// The k nearest of the points seen so far, ascending; of equal ones the first seen comes first.
template <typename A>
struct Nearest {
  int64_t* index;
  A* distance;
  int64_t k;
  int64_t found = 0;

  bool wants(A d) const { return found < k || d < distance[k - 1]; }

  void insert(int64_t i, A d) {
    if (!wants(d)) return;
    int64_t place = found < k ? found++ : k - 1;
    for (; place > 0 && distance[place - 1] > d; --place) {
      distance[place] = distance[place - 1];
      index[place] = index[place - 1];
    }
    distance[place] = d;
    index[place] = i;
  }

  // Most chunks hold nothing nearer: one pass that the compiler vectorises finds that out.
  bool wants_any(const A* d, int64_t count) const {
    if (found < k) return true;
    const A worst = distance[k - 1];
    int any = 0;
    for (int64_t i = 0; i < count; ++i) any |= d[i] < worst;
    return any != 0;
  }
};

template <typename T>
void nearest(const Tensor& points, const Tensor& centers, int64_t k, const Tensor& index,
             const Tensor& squared) {
  using A = acc_t<T>;
  const int64_t n = points.size(1), m = centers.size(1), dims = points.size(2);
  const T* center = centers.const_data_ptr<T>();
  int64_t* out = index.mutable_data_ptr<int64_t>();
  A* distance = squared.mutable_data_ptr<A>();
  for (int64_t b = 0; b < points.size(0); ++b) {
    const auto cloud = coordinates(points.const_data_ptr<T>() + b * n * dims, n, dims);
    parallel_rows(m, n, [&](int64_t j) {
      const int64_t row = b * m + j;
      const std::vector<A> c(center + row * dims, center + (row + 1) * dims);
      Nearest<A> best{out + row * k, distance + row * k, k};
      A d[kChunk];
      for (int64_t begin = 0; begin < n; begin += kChunk) {
        const int64_t count = std::min(kChunk, n - begin);
        squared_distances(cloud, n, dims, c.data(), begin, count, d);
        if (!best.wants_any(d, count)) continue;
        for (int64_t i = 0; i < count; ++i) best.insert(begin + i, d[i]);
      }
    });
  }
}

std::tuple<Tensor, Tensor> nearest_points(const Tensor& points, const Tensor& centers, int64_t k) {
  const Tensor p = contiguous(points);
  const Tensor c = contiguous(centers);
  STD_TORCH_CHECK(p.dim() == 3 && c.dim() == 3 && p.size(0) == c.size(0) && p.size(2) == c.size(2),
                  "nearest_points: points and centers must be (B, N, D) and (B, M, D)");
  STD_TORCH_CHECK(k >= 1 && k <= p.size(1), "nearest_points: expected k from 1 to ", p.size(1),
                  ", got ", k);
  const std::vector<int64_t> shape{c.size(0), c.size(1), k};
  const Tensor index = torch::stable::new_empty(p, shape, ScalarType::Long);
  const Tensor squared = torch::stable::new_empty(p, shape, accumulate_type(p));
  dispatch_floating(p, "nearest_points",
                    [&](auto zero) { nearest<decltype(zero)>(p, c, k, index, squared); });
  return {index, squared};
}

template <typename A>
struct Ball {
  A low, high;  // squared radii

  bool holds(A d) const { return (d == 0) | ((d >= low) & (d < high)); }

  bool holds_any(const A* d, int64_t count) const {
    int any = 0;
    for (int64_t i = 0; i < count; ++i) any |= holds(d[i]);
    return any != 0;
  }
};

// The first `samples` points in the ball of one centre.
template <typename A>
void fill(const Ball<A>& ball, const std::vector<A>& cloud, int64_t n, const A* center,
          int64_t samples, int64_t* out) {
  int64_t found = 0;
  A d[kChunk];
  for (int64_t begin = 0; begin < n && found < samples; begin += kChunk) {
    const int64_t count = std::min(kChunk, n - begin);
    squared_distances(cloud, n, 3, center, begin, count, d);
    if (!ball.holds_any(d, count)) continue;
    for (int64_t i = 0; i < count && found < samples; ++i) {
      if (ball.holds(d[i])) out[found++] = begin + i;
    }
  }
  std::fill(out + found, out + samples, found > 0 ? out[0] : 0);
}

void check_ends(const Tensor& ends, int64_t size, const char* name) {
  const int64_t* end = ends.const_data_ptr<int64_t>();
  int64_t before = 0;
  for (int64_t b = 0; b < ends.numel(); ++b) {
    STD_TORCH_CHECK(end[b] >= before, "ball_query: a cloud has a negative number of ", name);
    before = end[b];
  }
  STD_TORCH_CHECK(before == size, "ball_query: the clouds have ", before, " ", name, " by count, ",
                  size, " were given");
}

Tensor ball_query(const Tensor& points, const Tensor& centers, const Tensor& point_ends,
                  const Tensor& center_ends, double min_radius, double max_radius,
                  int64_t samples) {
  const Tensor p = contiguous(points), c = contiguous(centers);
  const Tensor p_ends = contiguous(point_ends), c_ends = contiguous(center_ends);
  STD_TORCH_CHECK(p.dim() == 2 && c.dim() == 2 && p.size(1) == 3 && c.size(1) == 3 &&
                      p_ends.numel() == c_ends.numel() && samples >= 1,
                  "ball_query: points and centers must be (N, 3) and (M, 3) of as many clouds");
  check_ends(p_ends, p.size(0), "points");
  check_ends(c_ends, c.size(0), "centers");
  const Tensor index = torch::stable::new_empty(p, {c.size(0), samples}, ScalarType::Long);
  int64_t* out = index.mutable_data_ptr<int64_t>();
  dispatch_floating(p, "ball_query", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const Ball<A> ball{static_cast<A>(min_radius * min_radius),
                       static_cast<A>(max_radius * max_radius)};
    const T* center = c.const_data_ptr<T>();
    int64_t first = 0, first_center = 0;
    for (int64_t b = 0; b < p_ends.numel(); ++b) {
      const int64_t n = p_ends.const_data_ptr<int64_t>()[b] - first;
      const int64_t last_center = c_ends.const_data_ptr<int64_t>()[b];
      const auto cloud = coordinates(p.const_data_ptr<T>() + first * 3, n, 3);
      parallel_rows(last_center - first_center, n, [&](int64_t j) {
        const int64_t row = first_center + j;
        const A at[3] = {static_cast<A>(center[row * 3]), static_cast<A>(center[row * 3 + 1]),
                         static_cast<A>(center[row * 3 + 2])};
        fill(ball, cloud, n, at, samples, out + row * samples);
      });
      first += n;
      first_center = last_center;
    }
  });
  return index;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("nearest_points", TORCH_BOX(&nearest_points));
  m.impl("ball_query", TORCH_BOX(&ball_query));
}

}  // namespace okulo
