// Maximum over the cells of each bin of a box, with the index of the cell.
#include "common/roi_pool.h"

#include <limits>

#include "common/products.h"
#include "cpu/parallel.h"
#include "cpu/roi_align.h"

namespace okulo {
namespace {

// The cells [first, last) of every bin along one axis.
template <typename A>
std::vector<int64_t> bounds(const PoolAxis<A>& axis, int64_t bins, int64_t cells) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < bins; ++i) {
    result.push_back(axis.first(i, cells));
    result.push_back(axis.last(i, cells));
  }
  return result;
}

constexpr int64_t kChannels = 64;  // looked at side by side

// The largest of n channels in a rectangle of a channels-last map, and where they are; of equal
// ones the first, NaN wins.
template <typename A>
struct Largest {
  A value[kChannels];
  int32_t cell[kChannels];

  Largest(const A* map, int64_t channels, int64_t n, int64_t columns, const int64_t* y,
          const int64_t* x) {
    if (y[0] >= y[1] || x[0] >= x[1]) {
      std::fill_n(value, n, A(0));
      std::fill_n(cell, n, -1);
      return;
    }
    const int64_t first = y[0] * columns + x[0];
    std::copy_n(map + first * channels, n, value);
    std::fill_n(cell, n, static_cast<int32_t>(first));
    for (int64_t row = y[0]; row < y[1]; ++row) {
      for (int64_t at = row * columns + x[0]; at < row * columns + x[1]; ++at) {
        const A* here = map + at * channels;
        const auto number = static_cast<int32_t>(at);
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
          const bool larger = !(here[c] <= value[c]) & (value[c] == value[c]);
          cell[c] = larger ? number : cell[c];
          value[c] = larger ? here[c] : value[c];
        }
      }
    }
  }
};

std::tuple<Tensor, Tensor> roi_pool(const Tensor& input, const Tensor& rois, double scale,
                                    int64_t height, int64_t width, bool rounded) {
  const int64_t channels = input.size(1), rows = input.size(2), columns = input.size(3);
  STD_TORCH_CHECK(rows * columns <= std::numeric_limits<int32_t>::max(),
                  "roi_pool: maps have at most 2^31 - 1 cells");
  const Tensor x = channels_last(input, accumulate_type(input));
  const Tensor r = accumulate_rois(rois, input);
  const int64_t bins = height * width;
  const Tensor pooled = torch::stable::new_empty(input, {r.size(0), channels, height, width});
  const Tensor best =
      torch::stable::new_empty(input, {r.size(0), channels, height, width}, ScalarType::Long);
  dispatch_floating(input, "roi_pool", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const A* boxes = r.const_data_ptr<A>();
    for (int64_t k = 0; k < r.size(0); ++k) image_of(boxes + 5 * k, x.size(0));
    const A* in = x.const_data_ptr<A>();
    T* out = pooled.mutable_data_ptr<T>();
    int64_t* cells = best.mutable_data_ptr<int64_t>();
    const A s = static_cast<A>(scale);
    parallel_rows(r.size(0), channels * bins * 4, [&](int64_t k) {
      const A* box = boxes + 5 * k;
      const auto ys = bounds(pool_axis(box[2], box[4], s, height, rounded), height, rows);
      const auto xs = bounds(pool_axis(box[1], box[3], s, width, rounded), width, columns);
      const A* map = in + image_of(box, x.size(0)) * rows * columns * channels;
      for (int64_t c = 0; c < channels; c += kChannels) {
        const int64_t n = std::min(kChannels, channels - c);
        for (int64_t bin = 0; bin < bins; ++bin) {
          const Largest<A> largest(map + c, channels, n, columns, &ys[bin / width * 2],
                                   &xs[bin % width * 2]);
          for (int64_t i = 0; i < n; ++i) {
            const int64_t at = (k * channels + c + i) * bins + bin;
            out[at] = static_cast<T>(largest.value[i]);
            cells[at] = largest.cell[i];
          }
        }
      }
    });
  });
  return {pooled, best};
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, double,
                         int64_t height, int64_t width, bool, const Tensor& best) {
  const Tensor g = contiguous(grad);
  const Tensor r = accumulate_rois(rois, input);
  const Tensor cells = contiguous(best);
  const int64_t channels = input.size(1), plane = input.size(2) * input.size(3);
  const int64_t bins = height * width;
  check_gradient(g, r.size(0) * channels * bins);
  check_gradient(cells, g.numel());
  const Tensor result = torch::stable::new_empty(input, input.sizes());
  dispatch_floating(result, "roi_pool_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const A* boxes = r.const_data_ptr<A>();
    const T* from = g.const_data_ptr<T>();
    const int64_t* at = cells.const_data_ptr<int64_t>();
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(input.size(0) * channels, plane + r.size(0) * bins, [&](int64_t p) {
      std::vector<A> sum(plane, A(0));
      for (int64_t k = 0; k < r.size(0); ++k) {
        if (image_of(boxes + 5 * k, input.size(0)) != p / channels) continue;
        const int64_t first = (k * channels + p % channels) * bins;
        for (int64_t b = first; b < first + bins; ++b)
          if (at[b] >= 0 && at[b] < plane) sum[at[b]] += static_cast<A>(from[b]);
      }
      for (int64_t i = 0; i < plane; ++i) out[p * plane + i] = static_cast<T>(sum[i]);
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward));
}

}  // namespace okulo
