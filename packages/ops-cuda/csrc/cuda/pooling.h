// CUDA kernels of regions whose outputs are weighted sums of pixels (common/pooling.h): one thread
// for each output, which adds atomically in the backward.
#pragma once

#include "common/pooling.h"
#include "cuda/launch.h"

namespace okulo {

// input: (N, C, H, W); output: (K, C, bins). n: numel of output.
template <typename T, typename Geometry>
__global__ void pool_forward_kernel(int64_t n, const T* input, Geometry geometry, int64_t channels,
                                    int64_t pixels, T* output) {
  using A = acc_t<T>;
  const int64_t bins = geometry.bins();
  OKULO_CUDA_LOOP(i, n) {
    const int64_t k = i / bins / channels;
    const int64_t image = geometry.image(k);
    A sum = 0;
    if (image >= 0) {
      const T* plane = input + (image * channels + i / bins % channels) * pixels;
      geometry.at(k).visit(
          i % bins, [&](int64_t pixel, A weight) { sum += weight * static_cast<A>(plane[pixel]); });
    }
    output[i] = static_cast<T>(sum);
  }
}

// grad: (K, C, bins); sums: (N, C, H, W), zeros at first. n: numel of grad.
template <typename T, typename Geometry>
__global__ void pool_backward_kernel(int64_t n, const T* grad, Geometry geometry, int64_t channels,
                                     int64_t pixels, acc_t<T>* sums) {
  using A = acc_t<T>;
  const int64_t bins = geometry.bins();
  OKULO_CUDA_LOOP(i, n) {
    const int64_t k = i / bins / channels;
    const int64_t image = geometry.image(k);
    if (image < 0) continue;
    A* plane = sums + (image * channels + i / bins % channels) * pixels;
    const A from = static_cast<A>(grad[i]);
    geometry.at(k).visit(i % bins,
                         [&](int64_t pixel, A weight) { atomicAdd(plane + pixel, weight * from); });
  }
}

struct CudaPooling {
  template <typename T, typename Geometry>
  static void forward(const Tensor& input, const Geometry& geometry, int64_t, Tensor& output) {
    launch(input, output.numel(), pool_forward_kernel<T, Geometry>, input.const_data_ptr<T>(),
           geometry, input.size(1), input.size(2) * input.size(3), output.mutable_data_ptr<T>());
  }

  template <typename T, typename Geometry>
  static void backward(const Tensor& grad, const Geometry& geometry, int64_t, Tensor& result) {
    const Tensor sums = torch::stable::new_zeros(result, result.sizes(), accumulate_type(result));
    launch(grad, grad.numel(), pool_backward_kernel<T, Geometry>, grad.const_data_ptr<T>(),
           geometry, result.size(1), result.size(2) * result.size(3),
           sums.mutable_data_ptr<acc_t<T>>());
    result = torch::stable::to(sums, result.scalar_type());
  }
};

}  // namespace okulo
