#include "common/deform_roi_pool.h"
#include "cuda/pooling.h"

namespace okulo {
namespace {

// One thread for each bin of a region, over all channels; n: regions * bins.
template <typename T>
__global__ void slopes_kernel(int64_t n, const T* input, const T* grad, MovedBoxes<acc_t<T>> boxes,
                              int64_t channels, acc_t<T>* slopes) {
  using A = acc_t<T>;
  const int64_t bins = boxes.bins(), pixels = boxes.map.height * boxes.map.width;
  OKULO_CUDA_LOOP(index, n) {
    const int64_t k = index / bins, bin = index % bins;
    const int64_t image = boxes.image(k);
    if (image < 0) continue;
    const auto box = boxes.at(k);
    const T* planes = input + image * channels * pixels;
    const T* g = grad + k * channels * bins + bin;
    A by_y = 0, by_x = 0;
    box.for_each_sample(bin, [&](A y, A x, A weight) {
      visit_slopes(y, x, box.map, [&](int64_t pixel, A slope_y, A slope_x) {
        A sum = 0;
        for (int64_t c = 0; c < channels; ++c)
          sum += static_cast<A>(g[c * bins]) * static_cast<A>(planes[c * pixels + pixel]);
        by_y += weight * slope_y * sum;
        by_x += weight * slope_x * sum;
      });
    });
    slopes[2 * k * bins + bin] = box.reach_x * by_x;
    slopes[(2 * k + 1) * bins + bin] = box.reach_y * by_y;
  }
}

struct CudaMovedPooling : CudaPooling {
  template <typename T, typename Boxes>
  static void slopes(const Tensor& input, const Tensor& grad, const Boxes& boxes, int64_t regions,
                     acc_t<T>* result) {
    launch(input, regions * boxes.bins(), slopes_kernel<T>, input.const_data_ptr<T>(),
           grad.const_data_ptr<T>(), boxes, input.size(1), result);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("deform_roi_pool", TORCH_BOX(&deform_roi_pool<CudaPooling>));
  m.impl("deform_roi_pool_backward", TORCH_BOX(&deform_roi_pool_backward<CudaMovedPooling>));
}

}  // namespace okulo
