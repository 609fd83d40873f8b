#include "common/prroi_pool.h"

#include "cpu/pooling.h"

namespace okulo {
namespace {

template <typename A>
A dot(const A* a, const A* b, int64_t n) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

struct ExactPooling : CpuPooling {
  // result: (K, 5), zeros at first. A task owns one box.
  template <typename T, typename A>
  static void by_rois(const Tensor& grad, const Tensor& features, const ExactBoxes<A>& boxes,
                      int64_t count, A* result) {
    const int64_t channels = features.size(1), pixels = features.size(2) * features.size(3);
    const int64_t bins = boxes.bins();
    if (count * channels == 0) return;
    const std::vector<A> values = channels_last<T>(features);
    const T* from = grad.const_data_ptr<T>();
    parallel_rows(count, bins * channels * 16, [&](int64_t k) {
      std::vector<A> by_bin(bins * channels);
      transpose(from + k * channels * bins, channels, bins, bins, by_bin.data(), channels);
      const A* image = values.data() + boxes.image(k) * pixels * channels;
      const auto box = boxes.at(k);
      A* out = result + 5 * k + 1;
      for (int64_t bin = 0; bin < bins; ++bin) {
        box.visit_derivatives(bin, [&](int64_t pixel, const A* factors) {
          const A value = dot(by_bin.data() + bin * channels, image + pixel * channels, channels);
          for (int i = 0; i < 4; ++i) out[i] += value * factors[i] * boxes.scale;
        });
      }
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("prroi_pool", TORCH_BOX(&prroi_pool<CpuPooling>));
  m.impl("prroi_pool_backward", TORCH_BOX(&prroi_pool_backward<ExactPooling>));
}

}  // namespace okulo
