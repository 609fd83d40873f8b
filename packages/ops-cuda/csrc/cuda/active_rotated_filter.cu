#include <cassert>

#include "common/active_rotated_filter.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// Where entry i of all filters goes when turned.
__device__ int64_t target(const TurnedFilters& s, const int64_t* table, int64_t i, int64_t r) {
  const int64_t to = table[i % s.entries * s.rotations + r] - 1;
  assert(to >= 0 && to < s.entries && "index outside the filter");
  return s.copy(i / s.entries, r) + to;
}

template <typename T>
__global__ void forward(int64_t n, TurnedFilters s, const int64_t* table, const T* input, T* out) {
  OKULO_CUDA_LOOP(i, n) {
    for (int64_t r = 0; r < s.rotations; ++r) out[target(s, table, i, r)] = input[i];
  }
}

template <typename T>
__global__ void backward(int64_t n, TurnedFilters s, const int64_t* table, const T* grad,
                         T* result) {
  OKULO_CUDA_LOOP(i, n) {
    acc_t<T> sum = 0;
    for (int64_t r = 0; r < s.rotations; ++r) {
      sum += static_cast<acc_t<T>>(grad[target(s, table, i, r)]);
    }
    result[i] = static_cast<T>(sum);
  }
}

Tensor active_rotated_filter(const Tensor& input, const Tensor& indices) {
  const Tensor x = contiguous(input), table = contiguous(indices);
  const TurnedFilters s(x, table);
  const int64_t shape[] = {s.out_channels * s.rotations, s.in_channels * x.size(2), x.size(3),
                           x.size(4)};
  const Tensor out = torch::stable::new_zeros(x, shape);  // a table may miss an entry
  dispatch_floating(x, "active_rotated_filter", [&](auto zero) {
    using T = decltype(zero);
    launch(x, x.numel(), forward<T>, s, table.const_data_ptr<int64_t>(), x.const_data_ptr<T>(),
           out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor active_rotated_filter_backward(const Tensor& grad, const Tensor& input,
                                      const Tensor& indices) {
  const Tensor g = contiguous(grad), table = contiguous(indices);
  const TurnedFilters s(input, table);
  STD_TORCH_CHECK(g.numel() == input.numel() * s.rotations,
                  "active_rotated_filter: the gradient does not fit the filters");
  const Tensor result = torch::stable::new_empty(g, input.sizes());
  dispatch_floating(g, "active_rotated_filter_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(g, result.numel(), backward<T>, s, table.const_data_ptr<int64_t>(),
           g.const_data_ptr<T>(), result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("active_rotated_filter", TORCH_BOX(&active_rotated_filter));
  m.impl("active_rotated_filter_backward", TORCH_BOX(&active_rotated_filter_backward));
}

}  // namespace okulo
