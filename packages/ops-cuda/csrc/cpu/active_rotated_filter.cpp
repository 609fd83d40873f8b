#include "common/active_rotated_filter.h"

#include <vector>

#include "cpu/parallel.h"

namespace okulo {
namespace {

// Where each entry of a filter goes when it is turned, and where each entry of a turned filter
// comes from, both (rotations, entries).
struct Table {
  std::vector<int32_t> target, source;

  Table(const TurnedFilters& s, const Tensor& indices)
      : target(s.entries * s.rotations), source(s.entries * s.rotations) {
    const int64_t* table = indices.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < s.entries * s.rotations; ++i) {
      const int64_t entry = i / s.rotations, first = i % s.rotations * s.entries;
      STD_TORCH_CHECK(table[i] >= 1 && table[i] <= s.entries, "active_rotated_filter: index ",
                      table[i], " is not in 1..", s.entries);
      target[first + entry] = static_cast<int32_t>(table[i] - 1);
      source[first + table[i] - 1] = static_cast<int32_t>(entry);
    }
  }
};

Tensor active_rotated_filter(const Tensor& input, const Tensor& indices) {
  const Tensor x = contiguous(input);
  const TurnedFilters s(x, indices);
  const Table table(s, contiguous(indices));
  const Tensor out = torch::stable::new_empty(
      x, {s.out_channels * s.rotations, s.in_channels * x.size(2), x.size(3), x.size(4)});
  dispatch_floating(x, "active_rotated_filter", [&](auto zero) {
    using T = decltype(zero);
    const T* data = x.const_data_ptr<T>();
    T* copies = out.mutable_data_ptr<T>();
    parallel_rows(s.out_channels * s.in_channels, s.entries * s.rotations, [&](int64_t f) {
      const T* from = data + f * s.entries;
      for (int64_t r = 0; r < s.rotations; ++r) {
        const int32_t* at = table.source.data() + r * s.entries;
        T* to = copies + s.copy(f, r);
        for (int64_t e = 0; e < s.entries; ++e) to[e] = from[at[e]];
      }
    });
  });
  return out;
}

Tensor active_rotated_filter_backward(const Tensor& grad, const Tensor& input,
                                      const Tensor& indices) {
  const Tensor g = contiguous(grad);
  const TurnedFilters s(input, indices);
  STD_TORCH_CHECK(g.numel() == input.numel() * s.rotations,
                  "active_rotated_filter: the gradient does not fit the filters");
  const Table table(s, contiguous(indices));
  const Tensor result = torch::stable::new_empty(g, input.sizes());
  dispatch_floating(g, "active_rotated_filter_backward", [&](auto zero) {
    using T = decltype(zero);
    const T* copies = g.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(s.out_channels * s.in_channels, s.entries * s.rotations, [&](int64_t f) {
      for (int64_t e = 0; e < s.entries; ++e) {
        acc_t<T> sum = 0;
        for (int64_t r = 0; r < s.rotations; ++r) {
          sum += static_cast<acc_t<T>>(copies[s.copy(f, r) + table.target[r * s.entries + e]]);
        }
        out[f * s.entries + e] = static_cast<T>(sum);
      }
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("active_rotated_filter", TORCH_BOX(&active_rotated_filter));
  m.impl("active_rotated_filter_backward", TORCH_BOX(&active_rotated_filter_backward));
}

}  // namespace okulo
