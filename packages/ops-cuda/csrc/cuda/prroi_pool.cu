#include "common/prroi_pool.h"
#include "cuda/pooling.h"

namespace okulo {
namespace {

// A warp for each bin of each box, its lanes over the channels. n: 32 times the bins of all boxes.
template <typename T>
__global__ void by_rois_kernel(int64_t n, const T* grad, const T* features,
                               ExactBoxes<acc_t<T>> boxes, int64_t channels, acc_t<T>* result) {
  using A = acc_t<T>;
  const int64_t bins = boxes.bins(), pixels = boxes.map.height * boxes.map.width;
  OKULO_CUDA_LOOP(i, n) {
    const int64_t k = i / 32 / bins, bin = i / 32 % bins, lane = i % 32;
    const int64_t image = boxes.image(k);
    if (image < 0) continue;
    const T* values = features + image * channels * pixels;
    const T* from = grad + k * channels * bins + bin;
    A sums[4] = {0, 0, 0, 0};
    boxes.at(k).visit_derivatives(bin, [&](int64_t pixel, const A* factors) {
      A value = 0;
      for (int64_t c = lane; c < channels; c += 32) {
        value += static_cast<A>(from[c * bins]) * static_cast<A>(values[c * pixels + pixel]);
      }
      for (int e = 0; e < 4; ++e) sums[e] += value * factors[e];
    });
    for (int e = 0; e < 4; ++e) {
      for (int offset = 16; offset > 0; offset /= 2) {
        sums[e] += __shfl_down_sync(0xffffffff, sums[e], offset);
      }
      if (lane == 0) atomicAdd(result + 5 * k + 1 + e, sums[e] * boxes.scale);
    }
  }
}

struct ExactPooling : CudaPooling {
  // result: (K, 5), zeros at first.
  template <typename T, typename A>
  static void by_rois(const Tensor& grad, const Tensor& features, const ExactBoxes<A>& boxes,
                      int64_t count, A* result) {
    launch(features, count * boxes.bins() * 32, by_rois_kernel<T>, grad.const_data_ptr<T>(),
           features.const_data_ptr<T>(), boxes, features.size(1), result);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("prroi_pool", TORCH_BOX(&prroi_pool<CudaPooling>));
  m.impl("prroi_pool_backward", TORCH_BOX(&prroi_pool_backward<ExactPooling>));
}

}  // namespace okulo
