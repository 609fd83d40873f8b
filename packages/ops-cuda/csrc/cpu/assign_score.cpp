#include <algorithm>
#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// scores (B, P, K, M), points and centers (B, N, M, O), index (B, P, K), output (B, O, P, K).
template <typename T>
struct Assignment {
  const T *score, *point, *center;
  const int64_t* index;
  int64_t batch, p, k, m, n, o;

  // Row of a bank entry: of neighbour j of centre i, or of the centre itself.
  const T* neighbor(int64_t b, int64_t i, int64_t j, int64_t e) const {
    return point + ((b * n + index[(b * p + i) * k + j]) * m + e) * o;
  }
  const T* own(int64_t b, int64_t i, int64_t e) const {
    return center + ((b * n + index[(b * p + i) * k]) * m + e) * o;
  }
};

void check(const Tensor& scores, const Tensor& points, const Tensor& centers, const Tensor& index) {
  STD_TORCH_CHECK(scores.dim() == 4 && points.dim() == 4 && centers.dim() == 4 &&
                      points.numel() == centers.numel() && points.size(0) == scores.size(0) &&
                      points.size(2) == scores.size(3) &&
                      index.numel() * scores.size(3) == scores.numel(),
                  "assign_score_withk: shapes do not fit");
  const int64_t* value = index.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    STD_TORCH_CHECK(value[i] >= 0 && value[i] < points.size(1), "assign_score_withk: index ",
                    value[i], " is out of bounds for ", points.size(1), " points");
  }
}

template <typename T>
Assignment<T> assignment(const Tensor& scores, const Tensor& points, const Tensor& centers,
                         const Tensor& index) {
  return {scores.const_data_ptr<T>(),
          points.const_data_ptr<T>(),
          centers.const_data_ptr<T>(),
          index.const_data_ptr<int64_t>(),
          scores.size(0),
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
  const Tensor result = torch::stable::new_empty(f, {s.size(0), f.size(3), s.size(1), s.size(2)});
  dispatch_floating(f, "assign_score_withk", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const Assignment<T> a = assignment<T>(s, f, c, at);
    T* out = result.mutable_data_ptr<T>();
    parallel_rows(a.batch * a.p, a.k * a.m * a.o, [=](int64_t task) {
      const int64_t b = task / a.p, i = task % a.p;
      std::vector<A> sum(a.o);
      for (int64_t j = 0; j < a.k; ++j) {
        std::fill(sum.begin(), sum.end(), A(0));
        for (int64_t e = 0; e < a.m; ++e) {
          const A weight = a.score[(task * a.k + j) * a.m + e];
          const T *x = a.neighbor(b, i, j, e), *y = a.own(b, i, e);
          A* total = sum.data();
          for (int64_t d = 0; d < a.o; ++d) total[d] += weight * (A(x[d]) - A(y[d]));
        }
        for (int64_t d = 0; d < a.o; ++d) {
          out[((b * a.o + d) * a.p + i) * a.k + j] = static_cast<T>(sum[d]);
        }
      }
    });
  });
  return result;
}

// (B, O, P * K) to (B, P * K, O) in the type it is computed in.
template <typename T>
std::vector<acc_t<T>> channels_last(const Tensor& grad) {
  const int64_t batch = grad.size(0), o = grad.size(1), rows = grad.size(2) * grad.size(3);
  std::vector<acc_t<T>> result(grad.numel());
  const T* from = grad.const_data_ptr<T>();
  parallel_rows(batch * rows, o, [&](int64_t r) {
    for (int64_t d = 0; d < o; ++d) {
      result[r * o + d] = static_cast<acc_t<T>>(from[(r / rows * o + d) * rows + r % rows]);
    }
  });
  return result;
}

template <typename T>
void by_score(const Assignment<T>& a, const acc_t<T>* grad, T* result) {
  parallel_rows(a.batch * a.p, a.k * a.m * a.o, [=](int64_t task) {
    const int64_t b = task / a.p, i = task % a.p;
    for (int64_t j = 0; j < a.k; ++j) {
      const acc_t<T>* g = grad + (task * a.k + j) * a.o;
      for (int64_t e = 0; e < a.m; ++e) {
        const T *x = a.neighbor(b, i, j, e), *y = a.own(b, i, e);
        acc_t<T> sum = 0;
        for (int64_t d = 0; d < a.o; ++d) sum += g[d] * (acc_t<T>(x[d]) - acc_t<T>(y[d]));
        result[(task * a.k + j) * a.m + e] = static_cast<T>(sum);
      }
    }
  });
}

// By points and centers: an entry of the bank of one cloud belongs to one thread.
template <typename T>
void by_features(const Assignment<T>& a, const acc_t<T>* grad, T* of_points, T* of_centers) {
  using A = acc_t<T>;
  parallel_rows(a.batch * a.m, a.p * a.k * a.o, [=](int64_t task) {
    const int64_t b = task / a.m, e = task % a.m;
    std::vector<A> near(a.n * a.o), own(a.n * a.o);
    for (int64_t r = b * a.p * a.k; r < (b + 1) * a.p * a.k; ++r) {
      const A weight = a.score[r * a.m + e];
      const A* g = grad + r * a.o;
      A* x = near.data() + a.index[r] * a.o;
      A* y = own.data() + a.index[r / a.k * a.k] * a.o;
      for (int64_t d = 0; d < a.o; ++d) {
        const A share = weight * g[d];
        x[d] += share;
        y[d] -= share;
      }
    }
    for (int64_t i = 0; i < a.n; ++i) {
      for (int64_t d = 0; d < a.o; ++d) {
        const int64_t to = ((b * a.n + i) * a.m + e) * a.o + d;
        of_points[to] = static_cast<T>(near[i * a.o + d]);
        of_centers[to] = static_cast<T>(own[i * a.o + d]);
      }
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> assign_score_withk_backward(const Tensor& grad,
                                                               const Tensor& scores,
                                                               const Tensor& points,
                                                               const Tensor& centers,
                                                               const Tensor& index) {
  const Tensor s = contiguous(scores), f = contiguous(points), c = contiguous(centers);
  const Tensor at = contiguous(index), g = contiguous(grad);
  check(s, f, c, at);
  check_gradient(g, s.size(0) * f.size(3) * s.size(1) * s.size(2));
  const Tensor of_scores = torch::stable::empty_like(s);
  const Tensor of_points = torch::stable::empty_like(f);
  const Tensor of_centers = torch::stable::empty_like(c);
  dispatch_floating(f, "assign_score_withk_backward", [&](auto zero) {
    using T = decltype(zero);
    const Assignment<T> a = assignment<T>(s, f, c, at);
    const auto from = channels_last<T>(g);
    by_score(a, from.data(), of_scores.mutable_data_ptr<T>());
    by_features(a, from.data(), of_points.mutable_data_ptr<T>(), of_centers.mutable_data_ptr<T>());
  });
  return {of_scores, of_points, of_centers};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("assign_score_withk", TORCH_BOX(&assign_score_withk));
  m.impl("assign_score_withk_backward", TORCH_BOX(&assign_score_withk_backward));
}

}  // namespace okulo
