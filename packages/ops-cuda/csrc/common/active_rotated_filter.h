// Where the entries of a filter go when it is turned (https://arxiv.org/abs/1701.01833, Eq. 1).
#pragma once

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// Filters (out_channels, in_channels, entries), their turned copies (out_channels, rotations,
// in_channels, entries), the table (entries, rotations).
struct TurnedFilters {
  int64_t out_channels, in_channels, entries, rotations;

  TurnedFilters(const Tensor& input, const Tensor& indices)
      : out_channels(input.size(0)),
        in_channels(input.size(1)),
        entries(input.size(2) * input.size(3) * input.size(4)),
        rotations(indices.size(3)) {
    STD_TORCH_CHECK(indices.numel() == entries * rotations,
                    "active_rotated_filter: the table does not fit the filters");
  }

  // The first entry of the copy of filter f of out_channels * in_channels.
  OKULO_HOST_DEVICE int64_t copy(int64_t f, int64_t rotation) const {
    const int64_t row = f / in_channels * rotations + rotation;
    return (row * in_channels + f % in_channels) * entries;
  }
};

}  // namespace okulo
