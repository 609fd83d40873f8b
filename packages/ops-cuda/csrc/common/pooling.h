// Regions whose outputs are weighted sums of pixels.
//
// A geometry describes K regions of `bins` outputs each: image(k) is the image of region k, or -1
// when it names none; at(k) prepares the region, and at(k).visit(bin, f) calls f(pixel, weight)
// for the pixels of one bin, where pixel is y * width + x.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// Of a feature map.
struct MapSize {
  int64_t height, width;
};

// Reads the number of an image from column 0 of the regions.
template <typename A>
OKULO_HOST_DEVICE int64_t image_index(A value, int64_t images) {
  return value >= 0 && value < static_cast<A>(images) ? static_cast<int64_t>(value) : -1;
}

// Samples of a bin along one axis: as many as were asked for, or one for each cell; none in a bin
// so large that their places could not be told apart.
template <typename A>
OKULO_HOST_DEVICE int64_t samples_along(A bin_size, int64_t asked) {
  if (asked > 0) return asked;
  const A cells = std::ceil(bin_size);
  return cells >= 1 && cells < A(1 << 22) ? static_cast<int64_t>(cells) : 0;
}

struct SampleRange {
  int64_t first, last;
};

// Of `count` samples, `step` apart from `start` on, those between low and high, and some around
// them: most samples of a box far larger than the map cannot be on it.
template <typename A>
OKULO_HOST_DEVICE SampleRange samples_between(A low, A high, A start, A step, int64_t count) {
  if (!(step > 0)) return {0, count};
  const A below = (low - start) / step - 2, above = (high - start) / step + 3;
  const A all = static_cast<A>(count);
  return {below > 0 ? static_cast<int64_t>(std::min(below, all)) : 0,
          above > 0 ? static_cast<int64_t>(std::min(above, all)) : 0};
}

// The four features about a point. Up to one pixel outside the border is repeated, farther out
// nothing is visited.
template <typename A, typename F>
OKULO_HOST_DEVICE void visit_bilinear(A y, A x, MapSize size, A weight, const F& f) {
  if (!(y >= -1 && y <= A(size.height) && x >= -1 && x <= A(size.width))) return;
  y = std::min(std::max(y, A(0)), A(size.height - 1));
  x = std::min(std::max(x, A(0)), A(size.width - 1));
  const int64_t y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
  const int64_t y1 = std::min(y0 + 1, size.height - 1), x1 = std::min(x0 + 1, size.width - 1);
  const A down = y - A(y0), right = x - A(x0);
  f(y0 * size.width + x0, weight * (1 - down) * (1 - right));
  f(y0 * size.width + x1, weight * (1 - down) * right);
  f(y1 * size.width + x0, weight * down * (1 - right));
  f(y1 * size.width + x1, weight * down * right);
}

// The operator of a geometry: (K, C, height, width) of an input (N, C, H, W) and regions (K, ...).
// Pooling is CpuPooling or CudaPooling; make(regions, map) returns the geometry, given the data of
// the regions in the type that the input is computed in.
template <typename Pooling, typename Make>
Tensor pool(const Tensor& input, const Tensor& regions, int64_t height, int64_t width,
            const Make& make) {
  const Tensor x = contiguous(input);
  const Tensor r = contiguous(torch::stable::to(regions, accumulate_type(x)));
  STD_TORCH_CHECK(x.dim() == 4 && x.size(2) * x.size(3) > 0 && height > 0 && width > 0,
                  "pooling needs an input (N, C, H, W) with pixels and an output with bins");
  Tensor output = torch::stable::new_empty(x, {r.size(0), x.size(1), height, width});
  dispatch_floating(x, "pooling", [&](auto zero) {
    using T = decltype(zero);
    const auto geometry = make(r.const_data_ptr<acc_t<T>>(), MapSize{x.size(2), x.size(3)});
    Pooling::template forward<T>(x, geometry, r.size(0), output);
  });
  return output;
}

template <typename Pooling, typename Make>
Tensor pool_backward(const Tensor& grad, const Tensor& input, const Tensor& regions,
                     const Make& make) {
  const Tensor g = contiguous(grad);
  const Tensor r = contiguous(torch::stable::to(regions, accumulate_type(input)));
  STD_TORCH_CHECK(input.dim() == 4 && input.size(2) * input.size(3) > 0,
                  "pooling needs an input (N, C, H, W) with pixels");
  Tensor result = torch::stable::new_empty(input, input.sizes());
  dispatch_floating(input, "pooling", [&](auto zero) {
    using T = decltype(zero);
    const MapSize map{input.size(2), input.size(3)};
    const auto geometry = make(r.const_data_ptr<acc_t<T>>(), map);
    STD_TORCH_CHECK(g.numel() == r.size(0) * input.size(1) * geometry.bins(),
                    "pooling needs a gradient (K, C, height, width)");
    Pooling::template backward<T>(g, geometry, r.size(0), result);
  });
  return result;
}

}  // namespace okulo
