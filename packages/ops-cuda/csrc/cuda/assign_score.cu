#include <cassert>
#include <tuple>

#include "cuda/launch.h"

namespace okulo {
namespace {

// scores (B, P, K, M), points and centers (B, N, M, O), index (B, P, K), output (B, O, P, K).
// Threads count the channels O fastest, so that neighbours read a row of the bank together.
template <typename T>
struct Assignment {
  const T *score, *point, *center;
  const int64_t* index;
  int64_t p, k, m, n, o;

  // The row of a bank entry of a neighbour, counted over (B, P, K), and that of its centre.
  __device__ int64_t near(int64_t neighbor, int64_t entry) const {
    const int64_t i = index[neighbor];
    assert(i >= 0 && i < n && "index outside the cloud");
    return ((neighbor / k / p * n + i) * m + entry) * o;
  }
  __device__ int64_t own(int64_t neighbor, int64_t entry) const {
    return near(neighbor / k * k, entry);
  }
  __device__ acc_t<T> difference(int64_t neighbor, int64_t entry, int64_t channel) const {
    return static_cast<acc_t<T>>(point[near(neighbor, entry) + channel]) -
           static_cast<acc_t<T>>(center[own(neighbor, entry) + channel]);
  }
  // Of a channel of a neighbour in the output.
  __device__ int64_t output(int64_t neighbor, int64_t channel) const {
    return (neighbor / k / p * o + channel) * p * k + neighbor % (p * k);
  }
};

template <typename T>
__global__ void forward(int64_t n, Assignment<T> a, T* out) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t channel = i % a.o, neighbor = i / a.o;
    acc_t<T> sum = 0;
    for (int64_t e = 0; e < a.m; ++e) {
      sum +=
          static_cast<acc_t<T>>(a.score[neighbor * a.m + e]) * a.difference(neighbor, e, channel);
    }
    out[a.output(neighbor, channel)] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void by_score(int64_t n, Assignment<T> a, const T* grad, T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t entry = i % a.m, neighbor = i / a.m;
    acc_t<T> sum = 0;
    for (int64_t channel = 0; channel < a.o; ++channel) {
      sum += static_cast<acc_t<T>>(grad[a.output(neighbor, channel)]) *
             a.difference(neighbor, entry, channel);
    }
    result[i] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void by_features(int64_t n, Assignment<T> a, const T* grad, acc_t<T>* of_points,
                            acc_t<T>* of_centers) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t channel = i % a.o, neighbor = i / a.o;
    const acc_t<T> slope = static_cast<acc_t<T>>(grad[a.output(neighbor, channel)]);
    for (int64_t e = 0; e < a.m; ++e) {
      const acc_t<T> share = slope * static_cast<acc_t<T>>(a.score[neighbor * a.m + e]);
      atomicAdd(of_points + a.near(neighbor, e) + channel, share);
      atomicAdd(of_centers + a.own(neighbor, e) + channel, -share);
    }
  }
}

void check(const Tensor& scores, const Tensor& points, const Tensor& centers, const Tensor& index) {
  STD_TORCH_CHECK(scores.dim() == 4 && points.dim() == 4 && centers.dim() == 4 &&
                      points.numel() == centers.numel() && points.size(0) == scores.size(0) &&
                      points.size(2) == scores.size(3) &&
                      index.numel() * scores.size(3) == scores.numel(),
                  "assign_score_withk: shapes do not fit");
}

template <typename T>
Assignment<T> assignment(const Tensor& scores, const Tensor& points, const Tensor& centers,
                         const Tensor& index) {
  return {scores.const_data_ptr<T>(),
          points.const_data_ptr<T>(),
          centers.const_data_ptr<T>(),
          index.const_data_ptr<int64_t>(),
          scores.size(1),
          scores.size(2),
          scores.size(3),
          points.size(1),
          points.size(3)};
}

Tensor assign_score_withk(const Tensor& scores, const Tensor& points, const Tensor& centers,
                          const Tensor& index) {
  const Tensor s = contiguous(scores), f = contiguous(points), c = contiguous(centers);
  const Tensor at = contiguous(index);
  check(s, f, c, at);
  const int64_t shape[] = {s.size(0), f.size(3), s.size(1), s.size(2)};
  const Tensor result = torch::stable::new_empty(f, shape);
  dispatch_floating(f, "assign_score_withk", [&](auto zero) {
    using T = decltype(zero);
    launch(f, result.numel(), forward<T>, assignment<T>(s, f, c, at), result.mutable_data_ptr<T>());
  });
  return result;
}

std::tuple<Tensor, Tensor, Tensor> assign_score_withk_backward(const Tensor& grad,
                                                               const Tensor& scores,
                                                               const Tensor& points,
                                                               const Tensor& centers,
                                                               const Tensor& index) {
  const Tensor s = contiguous(scores), f = contiguous(points), c = contiguous(centers);
  const Tensor at = contiguous(index), g = contiguous(grad);
  check(s, f, c, at);
  const Tensor of_scores = torch::stable::empty_like(s);
  const Tensor of_points = torch::stable::new_zeros(f, f.sizes(), accumulate_type(f));
  const Tensor of_centers = torch::stable::new_zeros(c, c.sizes(), accumulate_type(c));
  dispatch_floating(f, "assign_score_withk_backward", [&](auto zero) {
    using T = decltype(zero);
    const Assignment<T> a = assignment<T>(s, f, c, at);
    const T* slopes = g.const_data_ptr<T>();
    launch(g, s.numel(), by_score<T>, a, slopes, of_scores.mutable_data_ptr<T>());
    launch(g, g.numel(), by_features<T>, a, slopes, of_points.mutable_data_ptr<acc_t<T>>(),
           of_centers.mutable_data_ptr<acc_t<T>>());
  });
  return {of_scores, torch::stable::to(of_points, f.scalar_type()),
          torch::stable::to(of_centers, c.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("assign_score_withk", TORCH_BOX(&assign_score_withk));
  m.impl("assign_score_withk_backward", TORCH_BOX(&assign_score_withk_backward));
}

}  // namespace okulo
