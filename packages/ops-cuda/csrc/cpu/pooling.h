// CPU kernels of regions whose outputs are weighted sums of pixels (common/pooling.h). Features are
// laid out with channels innermost, so that all channels of a pixel are added at once.
#pragma once

#include <vector>

#include "common/dispatch.h"
#include "common/pooling.h"
#include "cpu/parallel.h"

namespace okulo {

constexpr int64_t kTile = 32;  // channels of a tile, and bins that a task sums at once

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns.
template <typename To, typename From>
void transpose(const From* from, int64_t rows, int64_t columns, int64_t from_stride, To* to,
               int64_t to_stride) {
  for (int64_t first = 0; first < columns; first += kTile) {
    const int64_t last = std::min(first + kTile, columns);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = first; j < last; ++j) {
        to[j * to_stride + i] = static_cast<To>(from[i * from_stride + j]);
      }
    }
  }
}

// (N, C, H, W) as (N, H * W, C) in the type it is computed in.
template <typename T>
std::vector<acc_t<T>> channels_last(const Tensor& input) {
  const int64_t channels = input.size(1), pixels = input.size(2) * input.size(3);
  const int64_t tiles = (pixels + kTile - 1) / kTile;
  std::vector<acc_t<T>> result(input.numel());
  parallel_rows(input.size(0) * tiles, kTile * channels, [&](int64_t task) {
    const int64_t image = task / tiles, first = task % tiles * kTile;
    for (int64_t c = 0; c < channels; c += kTile) {
      transpose(input.const_data_ptr<T>() + (image * channels + c) * pixels + first,
                std::min(kTile, channels - c), std::min(kTile, pixels - first), pixels,
                result.data() + (image * pixels + first) * channels + c, channels);
    }
  });
  return result;
}

template <typename A>
struct Tap {
  const A* pixel;
  A weight;
};

// sums[c] = sum over taps of weight * pixel[c], four taps at a time.
template <typename A>
void weighted_sum(const std::vector<Tap<A>>& taps, int64_t channels, A* sums) {
  std::fill(sums, sums + channels, A(0));
  size_t i = 0;
  for (; i + 4 <= taps.size(); i += 4) {
    const auto [p0, w0] = taps[i];
    const auto [p1, w1] = taps[i + 1];
    const auto [p2, w2] = taps[i + 2];
    const auto [p3, w3] = taps[i + 3];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      sums[c] += (w0 * p0[c] + w1 * p1[c]) + (w2 * p2[c] + w3 * p3[c]);
    }
  }
  for (; i < taps.size(); ++i) {
    const auto [pixel, weight] = taps[i];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) sums[c] += weight * pixel[c];
  }
}

struct CpuPooling {
  // output: (K, C, bins).
  template <typename T, typename Geometry>
  static void forward(const Tensor& input, const Geometry& geometry, int64_t regions,
                      Tensor& output) {
    using A = acc_t<T>;
    check_images(geometry, regions);
    const int64_t channels = input.size(1), pixels = input.size(2) * input.size(3);
    const int64_t bins = geometry.bins(), tiles = (bins + kTile - 1) / kTile;
    if (regions * channels == 0) return;
    const std::vector<A> features = channels_last<T>(input);
    T* out = output.mutable_data_ptr<T>();
    parallel_rows(regions * tiles, kTile * channels * 16, [&](int64_t task) {
      const int64_t k = task / tiles, first = task % tiles * kTile;
      const int64_t count = std::min(kTile, bins - first);
      const A* image = features.data() + geometry.image(k) * pixels * channels;
      const auto region = geometry.at(k);
      std::vector<A> sums(count * channels);
      std::vector<Tap<A>> taps;
      for (int64_t bin = 0; bin < count; ++bin) {
        taps.clear();
        region.visit(first + bin, [&](int64_t pixel, A weight) {
          taps.push_back({image + pixel * channels, weight});
        });
        weighted_sum(taps, channels, sums.data() + bin * channels);
      }
      transpose(sums.data(), count, channels, channels, out + k * channels * bins + first, bins);
    });
  }

  // grad: (K, C, bins); result: (N, C, H, W). A task owns one image and a tile of its channels, so
  // that sums are made in one order whatever the number of threads.
  template <typename T, typename Geometry>
  static void backward(const Tensor& grad, const Geometry& geometry, int64_t regions,
                       Tensor& result) {
    using A = acc_t<T>;
    check_images(geometry, regions);
    const int64_t channels = result.size(1), pixels = result.size(2) * result.size(3);
    const int64_t bins = geometry.bins(), tiles = (channels + kTile - 1) / kTile;
    const T* in = grad.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(result.size(0) * tiles, pixels * kTile, [&](int64_t task) {
      const int64_t image = task / tiles, first = task % tiles * kTile;
      const int64_t count = std::min(kTile, channels - first);
      std::vector<A> sums(pixels * kTile), by_bin(bins * kTile);
      for (int64_t k = 0; k < regions; ++k) {
        if (geometry.image(k) != image) continue;
        transpose(in + (k * channels + first) * bins, count, bins, bins, by_bin.data(), kTile);
        const auto region = geometry.at(k);
        for (int64_t bin = 0; bin < bins; ++bin) {
          region.visit(bin, [&](int64_t pixel, A weight) {
            add(weight, by_bin.data() + bin * kTile, sums.data() + pixel * kTile);
          });
        }
      }
      transpose(sums.data(), pixels, count, kTile, out + (image * channels + first) * pixels,
                pixels);
    });
  }

  template <typename A>
  static void add(A weight, const A* from, A* to) {
#pragma omp simd
    for (int64_t c = 0; c < kTile; ++c) to[c] += weight * from[c];
  }

  template <typename Geometry>
  static void check_images(const Geometry& geometry, int64_t regions) {
    for (int64_t k = 0; k < regions; ++k) {
      STD_TORCH_CHECK(geometry.image(k) >= 0, "region ", k, " names an image outside the batch");
    }
  }
};

}  // namespace okulo
