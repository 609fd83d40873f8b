#include <algorithm>
#include <cmath>
#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

Tensor voxel_coordinates(const Tensor& points, std::vector<double> low, std::vector<double> size,
                         std::vector<int64_t> grid) {
  const Tensor p = contiguous(points);
  STD_TORCH_CHECK(
      p.dim() == 2 && p.size(1) >= 3 && low.size() == 3 && size.size() == 3 && grid.size() == 3,
      "voxel_coordinates: expected points (N, F >= 3) and three limits");
  const Tensor result = torch::stable::new_empty(p, {p.size(0), 3}, ScalarType::Int);
  int32_t* out = result.mutable_data_ptr<int32_t>();
  dispatch_floating(p, "voxel_coordinates", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const T* from = p.const_data_ptr<T>();
    const int64_t width = p.size(1);
    const A x0[3] = {A(low[0]), A(low[1]), A(low[2])};
    const A step[3] = {A(size[0]), A(size[1]), A(size[2])};
    const A end[3] = {A(grid[0]), A(grid[1]), A(grid[2])};
    parallel_rows(p.size(0), 16, [=](int64_t i) {
      A cell[3];
      bool inside = true;
      for (int d = 0; d < 3; ++d) {
        cell[d] = std::floor((static_cast<A>(from[i * width + d]) - x0[d]) / step[d]);
        inside &= cell[d] >= 0 && cell[d] < end[d];
      }
      for (int d = 0; d < 3; ++d) {
        out[i * 3 + 2 - d] = inside ? static_cast<int32_t>(cell[d]) : -1;
      }
    });
  });
  return result;
}

// Numbers distinct keys in the order in which they come, by open addressing.
class Numbering {
 public:
  explicit Numbering(int64_t expected) {
    while (mask_ < 2 * expected) mask_ = 2 * mask_ + 1;
    keys_.assign(mask_ + 1, -1);
    numbers_.resize(mask_ + 1);
  }

  // Its number; `next` if it has not been seen, which it then has.
  int64_t operator()(int64_t key, int64_t next) {
    int64_t place = static_cast<int64_t>(static_cast<uint64_t>(key) * 0x9E3779B97F4A7C15u >> 20);
    for (place &= mask_; keys_[place] != key; place = (place + 1) & mask_) {
      if (keys_[place] >= 0) continue;
      keys_[place] = key;
      numbers_[place] = next;
      break;
    }
    return numbers_[place];
  }

 private:
  int64_t mask_ = 1023;
  std::vector<int64_t> keys_, numbers_;
};

std::tuple<Tensor, Tensor, Tensor> group_by_voxel(const Tensor& coordinates,
                                                  std::vector<int64_t> grid, int64_t max_points,
                                                  int64_t max_voxels) {
  const Tensor c = contiguous(coordinates);
  STD_TORCH_CHECK(c.dim() == 2 && c.size(1) == 3 && grid.size() == 3 && max_points >= 1,
                  "group_by_voxel: expected coordinates (N, 3) and three sizes");
  const int32_t* zyx = c.const_data_ptr<int32_t>();
  const int64_t n = c.size(0);
  Numbering numbering(n);
  std::vector<int64_t> voxel(n), first;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t* at = zyx + 3 * i;
    const int64_t next = static_cast<int64_t>(first.size());
    voxel[i] = at[0] < 0 ? -1 : numbering((at[0] * grid[1] + at[1]) * grid[2] + at[2], next);
    if (voxel[i] == next) first.push_back(i);
  }
  const int64_t kept = std::min<int64_t>(first.size(), max_voxels);
  const Tensor index = torch::stable::new_empty(c, {kept, max_points}, ScalarType::Long);
  const Tensor voxels = torch::stable::new_empty(c, {kept, 3});
  const Tensor counts = torch::stable::new_zeros(c, {kept});
  int64_t* slot = index.mutable_data_ptr<int64_t>();
  int32_t* count = counts.mutable_data_ptr<int32_t>();
  std::fill(slot, slot + kept * max_points, -1);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t v = voxel[i];
    if (v >= 0 && v < kept && count[v] < max_points) slot[v * max_points + count[v]++] = i;
  }
  for (int64_t v = 0; v < kept; ++v) {
    std::copy_n(zyx + 3 * first[v], 3, voxels.mutable_data_ptr<int32_t>() + 3 * v);
  }
  return {index, voxels, counts};
}

// One number for each row, in lexicographic order; -1 for a row with a negative entry.
std::vector<int64_t> keys_of(const int64_t* rows, int64_t n, int64_t width) {
  std::vector<int64_t> extent(width, 1), keys(n);
  for (int64_t i = 0; i < n * width; ++i) {
    extent[i % width] = std::max(extent[i % width], rows[i] + 1);
  }
  double cells = 1;
  for (const int64_t e : extent) cells *= static_cast<double>(e);
  STD_TORCH_CHECK(cells < 4e18, "unique_voxels: a grid of ", cells, " voxels is too large");
  for (int64_t i = 0; i < n; ++i) {
    int64_t key = 0;
    for (int64_t d = 0; d < width && key >= 0; ++d) {
      const int64_t at = rows[i * width + d];
      key = at < 0 ? -1 : key * extent[d] + at;
    }
    keys[i] = key;
  }
  return keys;
}

std::tuple<Tensor, Tensor> unique_voxels(const Tensor& coors) {
  const Tensor c = contiguous(coors);
  STD_TORCH_CHECK(c.dim() == 2, "unique_voxels: expected coors (N, D)");
  const int64_t n = c.size(0), width = c.size(1);
  const int64_t* rows = c.const_data_ptr<int64_t>();
  const std::vector<int64_t> keys = keys_of(rows, n, width);
  const Tensor number = torch::stable::new_empty(c, {n});
  int64_t* of_row = number.mutable_data_ptr<int64_t>();
  Numbering numbering(n);
  std::vector<int64_t> first;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t next = static_cast<int64_t>(first.size());
    of_row[i] = keys[i] < 0 ? -1 : numbering(keys[i], next);
    if (of_row[i] == next) first.push_back(i);
  }
  std::vector<int64_t> order(first.size()), rank(first.size());
  for (size_t v = 0; v < order.size(); ++v) order[v] = v;
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return keys[first[a]] < keys[first[b]]; });
  const Tensor voxels = torch::stable::new_empty(c, {static_cast<int64_t>(first.size()), width});
  for (size_t v = 0; v < order.size(); ++v) {
    rank[order[v]] = v;
    std::copy_n(rows + first[order[v]] * width, width,
                voxels.mutable_data_ptr<int64_t>() + v * width);
  }
  for (int64_t i = 0; i < n; ++i) of_row[i] = of_row[i] < 0 ? -1 : rank[of_row[i]];
  return {voxels, number};
}

Tensor greatest_of_voxel(const Tensor& feats, const Tensor& voxel, const Tensor& voxels) {
  const Tensor f = contiguous(feats), at = contiguous(voxel);
  const int64_t n = f.size(0), channels = f.size(1), count = voxels.size(0);
  STD_TORCH_CHECK(at.numel() == n, "greatest_of_voxel: expected one voxel for each row");
  const Tensor result = torch::stable::new_empty(f, {count, channels}, ScalarType::Long);
  const int64_t* v = at.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    STD_TORCH_CHECK(v[i] < count, "greatest_of_voxel: voxel ", v[i], " of ", count);
  }
  int64_t* best = result.mutable_data_ptr<int64_t>();
  std::fill(best, best + count * channels, n);
  dispatch_floating(f, "greatest_of_voxel", [&](auto zero) {
    using T = decltype(zero);
    const T* x = f.const_data_ptr<T>();
    constexpr int64_t block = 16;
    parallel_rows((channels + block - 1) / block, n * block, [=](int64_t task) {
      const int64_t begin = task * block, width = std::min(channels - begin, block);
      std::vector<acc_t<T>> top(count * block);
      for (int64_t i = 0; i < n; ++i) {
        if (v[i] < 0) continue;
        const T* row = x + i * channels + begin;
        acc_t<T>* value = top.data() + v[i] * block;
        int64_t* at = best + v[i] * channels + begin;
        for (int64_t c = 0; c < width; ++c) {
          const acc_t<T> here = static_cast<acc_t<T>>(row[c]);
          const bool greater = (at[c] == n) | (here > value[c]);
          value[c] = greater ? here : value[c];
          at[c] = greater ? i : at[c];
        }
      }
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("voxel_coordinates", TORCH_BOX(&voxel_coordinates));
  m.impl("group_by_voxel", TORCH_BOX(&group_by_voxel));
  m.impl("unique_voxels", TORCH_BOX(&unique_voxels));
  m.impl("greatest_of_voxel", TORCH_BOX(&greatest_of_voxel));
}

}  // namespace okulo
