#include <cassert>
#include <tuple>

#include "cuda/launch.h"

namespace okulo {
namespace {

// Where one point of a channel lies: features (B, C, N), indices (B, K).
struct Places {
  const int64_t* index;
  int64_t channels, n, k;

  // Of element j of row b * C + c.
  __device__ int64_t operator()(int64_t row, int64_t j) const {
    const int64_t i = index[row / channels * k + j];
    assert(i >= 0 && i < n && "index outside the cloud");
    return row * n + i;
  }
};

Places places(const Tensor& features, const Tensor& index) {
  STD_TORCH_CHECK(features.dim() == 3 && features.size(0) == index.size(0),
                  "expected features (B, C, N) and indices of as many clouds");
  const int64_t k = index.dim() == 3 ? index.size(1) * index.size(2) : index.size(1);
  return {index.const_data_ptr<int64_t>(), features.size(1), features.size(2), k};
}

template <typename T>
__global__ void group(int64_t total, const T* features, Places at, T* result) {
  OKULO_CUDA_LOOP(e, total) result[e] = features[at(e / at.k, e % at.k)];
}

template <typename T>
__global__ void group_backward(int64_t total, const T* grad, Places at, acc_t<T>* result) {
  OKULO_CUDA_LOOP(e, total) {
    atomicAdd(result + at(e / at.k, e % at.k), static_cast<acc_t<T>>(grad[e]));
  }
}

Tensor group_points(const Tensor& features, const Tensor& index) {
  const Tensor f = contiguous(features), at = contiguous(index);
  const Places where = places(f, at);
  const int64_t shape[] = {f.size(0), f.size(1), at.size(1)};
  const Tensor result = torch::stable::new_empty(f, shape);
  dispatch_floating(f, "group_points", [&](auto zero) {
    using T = decltype(zero);
    launch(f, result.numel(), group<T>, f.const_data_ptr<T>(), where, result.mutable_data_ptr<T>());
  });
  return result;
}

Tensor group_points_backward(const Tensor& grad, const Tensor& features, const Tensor& index) {
  const Tensor g = contiguous(grad), at = contiguous(index);
  const Places where = places(features, at);
  const int64_t shape[] = {features.size(0), features.size(1), features.size(2)};
  const Tensor sum = torch::stable::new_zeros(g, shape, accumulate_type(g));
  dispatch_floating(g, "group_points_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(g, g.numel(), group_backward<T>, g.const_data_ptr<T>(), where,
           sum.mutable_data_ptr<acc_t<T>>());
  });
  return torch::stable::to(sum, g.scalar_type());
}

template <typename T>
__global__ void interpolate(int64_t total, const T* features, const acc_t<T>* weight, Places at,
                            T* result) {
  const int64_t m = at.k / 3;
  OKULO_CUDA_LOOP(e, total) {
    const int64_t row = e / m, j = e % m * 3;
    const acc_t<T>* share = weight + row / at.channels * at.k + j;
    acc_t<T> sum = 0;
    for (int t = 0; t < 3; ++t) sum += static_cast<acc_t<T>>(features[at(row, j + t)]) * share[t];
    result[e] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void by_features(int64_t total, const T* grad, const acc_t<T>* weight, Places at,
                            acc_t<T>* result) {
  const int64_t m = at.k / 3;
  OKULO_CUDA_LOOP(e, total) {
    const int64_t row = e / m, j = e % m * 3;
    const acc_t<T>* share = weight + row / at.channels * at.k + j;
    for (int t = 0; t < 3; ++t) {
      atomicAdd(result + at(row, j + t), share[t] * static_cast<acc_t<T>>(grad[e]));
    }
  }
}

// One thread for each weight sums over the channels.
template <typename T>
__global__ void by_weight(int64_t total, const T* grad, const T* features, Places at,
                          acc_t<T>* result) {
  const int64_t m = at.k / 3;
  OKULO_CUDA_LOOP(e, total) {
    const int64_t b = e / at.k, j = e % at.k;
    acc_t<T> sum = 0;
    for (int64_t row = b * at.channels; row < (b + 1) * at.channels; ++row) {
      sum += static_cast<acc_t<T>>(grad[row * m + j / 3]) *
             static_cast<acc_t<T>>(features[at(row, j)]);
    }
    result[e] = sum;
  }
}

Tensor three_interpolate(const Tensor& features, const Tensor& index, const Tensor& weight) {
  const Tensor f = contiguous(features), at = contiguous(index);
  const Tensor w = contiguous(torch::stable::to(weight, accumulate_type(f)));
  const Places where = places(f, at);
  const int64_t shape[] = {f.size(0), f.size(1), at.size(1)};
  const Tensor result = torch::stable::new_empty(f, shape);
  dispatch_floating(f, "three_interpolate", [&](auto zero) {
    using T = decltype(zero);
    launch(f, result.numel(), interpolate<T>, f.const_data_ptr<T>(), w.const_data_ptr<acc_t<T>>(),
           where, result.mutable_data_ptr<T>());
  });
  return result;
}

std::tuple<Tensor, Tensor> three_interpolate_backward(const Tensor& grad, const Tensor& features,
                                                      const Tensor& index, const Tensor& weight) {
  const Tensor f = contiguous(features), g = contiguous(grad), at = contiguous(index);
  const Tensor w = contiguous(torch::stable::to(weight, accumulate_type(f)));
  const Places where = places(f, at);
  const int64_t shape[] = {f.size(0), f.size(1), f.size(2)};
  const Tensor of_features = torch::stable::new_zeros(f, shape, accumulate_type(f));
  const Tensor of_weight = torch::stable::empty_like(w);
  dispatch_floating(f, "three_interpolate_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    launch(f, g.numel(), by_features<T>, g.const_data_ptr<T>(), w.const_data_ptr<A>(), where,
           of_features.mutable_data_ptr<A>());
    launch(f, w.numel(), by_weight<T>, g.const_data_ptr<T>(), f.const_data_ptr<T>(), where,
           of_weight.mutable_data_ptr<A>());
  });
  return {torch::stable::to(of_features, f.scalar_type()),
          torch::stable::to(of_weight, weight.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("group_points", TORCH_BOX(&group_points));
  m.impl("group_points_backward", TORCH_BOX(&group_points_backward));
  m.impl("three_interpolate", TORCH_BOX(&three_interpolate));
  m.impl("three_interpolate_backward", TORCH_BOX(&three_interpolate_backward));
}

}  // namespace okulo
