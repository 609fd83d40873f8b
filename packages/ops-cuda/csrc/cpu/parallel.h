// Threads for CPU kernels.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>

namespace okulo {

// Calls body(i) for i in [0, n) over PyTorch's threads. work: how many elementary steps one i
// costs, so that small jobs stay on one thread.
template <typename Body>
void parallel_rows(int64_t n, int64_t work, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, work));
  torch::stable::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace okulo
