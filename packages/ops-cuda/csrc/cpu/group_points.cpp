#include <algorithm>
#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

constexpr int64_t kSide = 4;

// An index outside 0 .. size - 1 would be read or written outside the features.
void check_index(const Tensor& index, int64_t size, const char* name) {
  const int64_t* value = index.const_data_ptr<int64_t>();
  int64_t low = 0, high = -1;
  for (int64_t i = 0; i < index.numel(); ++i) {
    low = std::min(low, value[i]);
    high = std::max(high, value[i]);
  }
  STD_TORCH_CHECK(low >= 0 && high < size, name, ": index ", low < 0 ? low : high,
                  " is out of bounds for ", size, " points");
}

void check_features(const Tensor& features, const Tensor& index, int64_t dims, const char* name) {
  STD_TORCH_CHECK(features.dim() == 3 && index.dim() == dims && features.size(0) == index.size(0),
                  name, ": expected features (B, C, N) and indices of as many clouds");
  check_index(index, features.size(2), name);
}

Tensor group_points(const Tensor& features, const Tensor& index) {
  const Tensor f = contiguous(features), at = contiguous(index);
  check_features(f, at, 2, "group_points");
  const int64_t channels = f.size(1), n = f.size(2), m = at.size(1);
  const Tensor result = torch::stable::new_empty(f, {f.size(0), channels, m});
  const int64_t* indices = at.const_data_ptr<int64_t>();
  dispatch_floating(f, "group_points", [&](auto zero) {
    using T = decltype(zero);
    const T* from = f.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(f.size(0) * channels, m, [=](int64_t row) {
      const int64_t* i = indices + row / channels * m;
      const T* x = from + row * n;
      T* y = out + row * m;
      for (int64_t j = 0; j < m; ++j) y[j] = x[i[j]];
    });
  });
  return result;
}

Tensor group_points_backward(const Tensor& grad, const Tensor& features, const Tensor& index) {
  const Tensor g = contiguous(grad), at = contiguous(index);
  check_features(features, at, 2, "group_points_backward");
  const int64_t channels = features.size(1), n = features.size(2), m = at.size(1);
  check_gradient(g, features.size(0) * channels * m);
  const Tensor result = torch::stable::new_empty(g, {features.size(0), channels, n});
  const int64_t* indices = at.const_data_ptr<int64_t>();
  dispatch_floating(g, "group_points_backward", [&](auto zero) {
    using T = decltype(zero);
    const T* from = g.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    // Four channels side by side: one index and one addition of a vector serve them all.
    const int64_t blocks = (channels + kSide - 1) / kSide;
    parallel_rows(features.size(0) * blocks, kSide * (n + m), [=](int64_t task) {
      const int64_t cloud = task / blocks, first = task % blocks * kSide;
      const int64_t count = std::min(kSide, channels - first);
      const int64_t* i = indices + cloud * m;
      const int64_t row = cloud * channels + first;
      const T* g[kSide];
      for (int64_t c = 0; c < kSide; ++c) g[c] = from + (row + std::min(c, count - 1)) * m;
      std::vector<acc_t<T>> sum(n * kSide);
      for (int64_t j = 0; j < m; ++j) {
        acc_t<T>* at = sum.data() + i[j] * kSide;
        for (int64_t c = 0; c < kSide; ++c) at[c] += static_cast<acc_t<T>>(g[c][j]);
      }
      for (int64_t c = 0; c < count; ++c)
        for (int64_t j = 0; j < n; ++j) out[(row + c) * n + j] = static_cast<T>(sum[j * kSide + c]);
    });
  });
  return result;
}

Tensor three_interpolate(const Tensor& features, const Tensor& index, const Tensor& weight) {
  const Tensor f = contiguous(features), at = contiguous(index);
  const Tensor w = contiguous(torch::stable::to(weight, accumulate_type(f)));
  check_features(f, at, 3, "three_interpolate");
  const int64_t channels = f.size(1), n = f.size(2), m = at.size(1);
  const Tensor result = torch::stable::new_empty(f, {f.size(0), channels, m});
  const int64_t* indices = at.const_data_ptr<int64_t>();
  dispatch_floating(f, "three_interpolate", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const T* from = f.const_data_ptr<T>();
    const A* weights = w.const_data_ptr<A>();
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(f.size(0) * channels, 3 * m, [=](int64_t row) {
      const int64_t* i = indices + row / channels * m * 3;
      const A* share = weights + row / channels * m * 3;
      const T* x = from + row * n;
      for (int64_t j = 0; j < m; ++j, i += 3, share += 3) {
        out[row * m + j] =
            static_cast<T>(A(x[i[0]]) * share[0] + A(x[i[1]]) * share[1] + A(x[i[2]]) * share[2]);
      }
    });
  });
  return result;
}

// By the features: each channel of a cloud gathers what its points gave.
template <typename T>
void by_features(const Tensor& grad, const Tensor& index, const Tensor& weight,
                 const Tensor& result) {
  using A = acc_t<T>;
  const int64_t channels = grad.size(1), n = result.size(2), m = index.size(1);
  const int64_t* indices = index.const_data_ptr<int64_t>();
  const A* weights = weight.const_data_ptr<A>();
  const T* from = grad.const_data_ptr<T>();
  T* out = result.mutable_data_ptr<T>();
  parallel_rows(grad.size(0) * channels, n + 3 * m, [=](int64_t row) {
    const int64_t* i = indices + row / channels * m * 3;
    const A* share = weights + row / channels * m * 3;
    std::vector<A> sum(n);
    for (int64_t j = 0; j < 3 * m; ++j) sum[i[j]] += share[j] * A(from[row * m + j / 3]);
    for (int64_t j = 0; j < n; ++j) out[row * n + j] = static_cast<T>(sum[j]);
  });
}

// By the weights: each sums over the channels.
template <typename T>
void by_weight(const Tensor& grad, const Tensor& features, const Tensor& index,
               const Tensor& result) {
  using A = acc_t<T>;
  const int64_t channels = features.size(1), n = features.size(2), m = index.size(1);
  const int64_t* indices = index.const_data_ptr<int64_t>();
  const T* from = grad.const_data_ptr<T>();
  const T* x = features.const_data_ptr<T>();
  A* out = result.mutable_data_ptr<A>();
  constexpr int64_t block = 256;
  const int64_t blocks = (m + block - 1) / block;
  parallel_rows(features.size(0) * blocks, 3 * block * channels, [=](int64_t task) {
    const int64_t b = task / blocks, begin = task % blocks * block;
    const int64_t end = std::min(begin + block, m);
    std::fill(out + (b * m + begin) * 3, out + (b * m + end) * 3, A(0));
    for (int64_t row = b * channels; row < (b + 1) * channels; ++row) {
      for (int64_t j = begin; j < end; ++j) {
        for (int64_t k = (b * m + j) * 3; k < (b * m + j + 1) * 3; ++k) {
          out[k] += A(from[row * m + j]) * A(x[row * n + indices[k]]);
        }
      }
    }
  });
}

std::tuple<Tensor, Tensor> three_interpolate_backward(const Tensor& grad, const Tensor& features,
                                                      const Tensor& index, const Tensor& weight) {
  const Tensor f = contiguous(features), g = contiguous(grad), at = contiguous(index);
  const Tensor w = contiguous(torch::stable::to(weight, accumulate_type(f)));
  check_features(f, at, 3, "three_interpolate_backward");
  check_gradient(g, f.size(0) * f.size(1) * at.size(1));
  const Tensor of_features = torch::stable::empty_like(f);
  const Tensor of_weight = torch::stable::empty_like(w);
  dispatch_floating(f, "three_interpolate_backward", [&](auto zero) {
    using T = decltype(zero);
    by_features<T>(g, at, w, of_features);
    by_weight<T>(g, f, at, of_weight);
  });
  return {of_features, torch::stable::to(of_weight, weight.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("group_points", TORCH_BOX(&group_points));
  m.impl("group_points_backward", TORCH_BOX(&group_points_backward));
  m.impl("three_interpolate", TORCH_BOX(&three_interpolate));
  m.impl("three_interpolate_backward", TORCH_BOX(&three_interpolate_backward));
}

}  // namespace okulo
