#include "common/deform_roi_pool.h"

#include "cpu/pooling.h"

namespace okulo {
namespace {

struct CpuMovedPooling : CpuPooling {
  template <typename T, typename Boxes>
  static void slopes(const Tensor& input, const Tensor& grad, const Boxes& boxes, int64_t regions,
                     acc_t<T>* result) {
    using A = acc_t<T>;
    const int64_t channels = input.size(1), pixels = input.size(2) * input.size(3);
    const int64_t bins = boxes.bins();
    if (regions * channels * pixels == 0) return;
    const std::vector<A> features = channels_last<T>(input);
    const T* from = grad.const_data_ptr<T>();
    parallel_rows(regions, channels * bins * 16, [&](int64_t k) {
      const A* image = features.data() + boxes.image(k) * pixels * channels;
      const auto box = boxes.at(k);
      std::vector<A> by_bin(bins * channels);
      transpose(from + k * channels * bins, channels, bins, bins, by_bin.data(), channels);
      for (int64_t bin = 0; bin < bins; ++bin) {
        const A* g = by_bin.data() + bin * channels;
        A by_y = 0, by_x = 0;
        box.for_each_sample(bin, [&](A y, A x, A weight) {
          visit_slopes(y, x, box.map, [&](int64_t pixel, A slope_y, A slope_x) {
            A sum = 0;
            const A* feature = image + pixel * channels;
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < channels; ++c) sum += g[c] * feature[c];
            by_y += weight * slope_y * sum;
            by_x += weight * slope_x * sum;
          });
        });
        result[2 * k * bins + bin] = box.reach_x * by_x;
        result[(2 * k + 1) * bins + bin] = box.reach_y * by_y;
      }
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("deform_roi_pool", TORCH_BOX(&deform_roi_pool<CpuPooling>));
  m.impl("deform_roi_pool_backward", TORCH_BOX(&deform_roi_pool_backward<CpuMovedPooling>));
}

}  // namespace okulo
