// Greedy suppression, within categories, of shapes that come by decreasing score.
#pragma once

#include <unordered_map>

#include "common/dispatch.h"

namespace okulo {

// Kept: a set of shapes with add(shape) and any_above(shape, threshold); load(i): the i-th shape.
template <typename Kept, typename T, typename Load>
void suppress(int64_t n, const std::optional<Tensor>& categories, T threshold, const Load& load,
              bool* kept) {
  STD_TORCH_CHECK(!categories || categories->numel() == n, "expected one category per box");
  const int64_t* category = data_or_null<int64_t>(categories);
  std::unordered_map<int64_t, Kept> kept_of;
  for (int64_t i = 0; i < n; ++i) {
    const auto shape = load(i);
    Kept& rivals = kept_of[category ? category[i] : 0];
    kept[i] = !rivals.any_above(shape, threshold);
    if (kept[i]) rivals.add(shape);
  }
}

}  // namespace okulo
