// Clouds of points, laid out so that the compiler can work on several points at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "common/dispatch.h"

namespace okulo {

constexpr int64_t kChunk = 128;

// (n, dims) points as (dims, n) coordinates in the type they are computed in.
template <typename T>
std::vector<acc_t<T>> coordinates(const T* points, int64_t n, int64_t dims) {
  std::vector<acc_t<T>> result(n * dims);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < dims; ++d) {
      result[d * n + i] = static_cast<acc_t<T>>(points[i * dims + d]);
    }
  }
  return result;
}

// Squared distances of points begin .. begin + count - 1 of a cloud from a centre, added in the
// order of the coordinates as the meaning does.
template <typename A>
void squared_distances(const std::vector<A>& cloud, int64_t n, int64_t dims, const A* center,
                       int64_t begin, int64_t count, A* result) {
  for (int64_t i = 0; i < count; ++i) result[i] = 0;
  for (int64_t d = 0; d < dims; ++d) {
    const A* x = cloud.data() + d * n + begin;
    const A c = center[d];
    for (int64_t i = 0; i < count; ++i) {
      const A step = c - x[i];
      result[i] += step * step;
    }
  }
}

}  // namespace okulo
