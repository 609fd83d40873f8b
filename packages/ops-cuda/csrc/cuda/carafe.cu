#include "common/carafe.h"
#include "cuda/launch.h"

// Each thread gathers one entry of its result: nothing is added atomically.

namespace okulo {
namespace {

template <typename T>
struct Carafe : CarafeSizes {
  using A = acc_t<T>;
  const T* features;
  const T* masks;

  __device__ A feature(int64_t channel, int64_t h, int64_t w) const {
    const bool inside = h >= 0 && h < height && w >= 0 && w < width;
    return inside ? static_cast<A>(features[(channel * height + h) * width + w]) : A(0);
  }

  // plane: group of an image
  __device__ A mask(int64_t plane, int64_t tap, int64_t y, int64_t x) const {
    return static_cast<A>(masks[((plane * taps() + tap) * out_height() + y) * out_width() + x]);
  }
};

template <typename T>
__global__ void forward(int64_t n, Carafe<T> s, T* out) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t x = index % s.out_width(), y = index / s.out_width() % s.out_height();
    const int64_t channel = index / s.out_width() / s.out_height();
    const int64_t h = y / s.scale - s.radius(), w = x / s.scale - s.radius();
    acc_t<T> sum = 0;
    for (int64_t i = 0; i < s.kernel; ++i) {
      for (int64_t j = 0; j < s.kernel; ++j) {
        sum += s.feature(channel, h + i, w + j) *
               s.mask(channel / s.group_channels(), i * s.kernel + j, y, x);
      }
    }
    out[index] = static_cast<T>(sum);
  }
}

// The gradient of the features at (h, w) by tap (i, j), from the outputs that read it so.
template <typename T>
__device__ acc_t<T> feature_gradient(const Carafe<T>& s, const T* grad, int64_t channel, int64_t h,
                                     int64_t w, int64_t i, int64_t j) {
  const int64_t cell_h = h + s.radius() - i, cell_w = w + s.radius() - j;
  acc_t<T> sum = 0;
  if (cell_h < 0 || cell_h >= s.height || cell_w < 0 || cell_w >= s.width) return sum;
  for (int64_t y = cell_h * s.scale; y < (cell_h + 1) * s.scale; ++y) {
    for (int64_t x = cell_w * s.scale; x < (cell_w + 1) * s.scale; ++x) {
      sum += static_cast<acc_t<T>>(grad[(channel * s.out_height() + y) * s.out_width() + x]) *
             s.mask(channel / s.group_channels(), i * s.kernel + j, y, x);
    }
  }
  return sum;
}

template <typename T>
__global__ void backward_of_features(int64_t n, Carafe<T> s, const T* grad, T* result) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t w = index % s.width, h = index / s.width % s.height;
    const int64_t channel = index / s.width / s.height;
    acc_t<T> sum = 0;
    for (int64_t i = 0; i < s.kernel; ++i) {
      for (int64_t j = 0; j < s.kernel; ++j) {
        sum += feature_gradient(s, grad, channel, h, w, i, j);
      }
    }
    result[index] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void backward_of_masks(int64_t n, Carafe<T> s, const T* grad, T* result) {
  const int64_t pixels = s.out_height() * s.out_width();
  OKULO_CUDA_LOOP(index, n) {
    const int64_t pixel = index % pixels;
    const int64_t x = pixel % s.out_width(), y = pixel / s.out_width();
    const int64_t tap = index / pixels % s.taps();
    const int64_t h = y / s.scale + tap / s.kernel - s.radius();
    const int64_t w = x / s.scale + tap % s.kernel - s.radius();
    const int64_t first = index / pixels / s.taps() * s.group_channels();
    acc_t<T> sum = 0;
    for (int64_t channel = first; channel < first + s.group_channels(); ++channel) {
      sum += static_cast<acc_t<T>>(grad[channel * pixels + pixel]) * s.feature(channel, h, w);
    }
    result[index] = static_cast<T>(sum);
  }
}

Tensor carafe(const Tensor& features, const Tensor& masks, int64_t kernel, int64_t groups,
              int64_t scale) {
  const CarafeSizes sizes(features, masks, kernel, groups, scale);
  const Tensor x = contiguous(features), m = contiguous(masks);
  const Tensor out = torch::stable::new_empty(
      x, {sizes.batch, sizes.channels, sizes.out_height(), sizes.out_width()});
  dispatch_floating(x, "carafe", [&](auto zero) {
    using T = decltype(zero);
    const Carafe<T> s{sizes, x.const_data_ptr<T>(), m.const_data_ptr<T>()};
    launch(out, out.numel(), forward<T>, s, out.mutable_data_ptr<T>());
  });
  return out;
}

std::tuple<Tensor, Tensor> carafe_backward(const Tensor& grad, const Tensor& features,
                                           const Tensor& masks, int64_t kernel, int64_t groups,
                                           int64_t scale) {
  const CarafeSizes sizes(features, masks, kernel, groups, scale);
  const Tensor g = contiguous(grad), x = contiguous(features), m = contiguous(masks);
  const Tensor by_features = torch::stable::empty_like(x), by_masks = torch::stable::empty_like(m);
  dispatch_floating(x, "carafe_backward", [&](auto zero) {
    using T = decltype(zero);
    const Carafe<T> s{sizes, x.const_data_ptr<T>(), m.const_data_ptr<T>()};
    const T* from = g.const_data_ptr<T>();
    launch(x, x.numel(), backward_of_features<T>, s, from, by_features.mutable_data_ptr<T>());
    launch(x, m.numel(), backward_of_masks<T>, s, from, by_masks.mutable_data_ptr<T>());
  });
  return {by_features, by_masks};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("carafe", TORCH_BOX(&carafe));
  m.impl("carafe_backward", TORCH_BOX(&carafe_backward));
}

}  // namespace okulo
