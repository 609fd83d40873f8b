#include "common/corner_pool.h"

#include <limits>
#include <vector>

#include "cpu/fresh_memory.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// Rows are scanned one by one, columns in blocks of neighbours side by side. f(first step of the
// first line, number of lines); the number is a constant for all but the last block of a plane.
constexpr int64_t kBlock = 16;

template <typename Body>
void for_each_block(const Scans& s, const Body& body) {
  const int64_t size = s.line_stride == 1 ? kBlock : 1;
  const int64_t blocks = (s.lines + size - 1) / size;
  parallel_rows(s.planes * blocks, 4 * s.steps * size, [&](int64_t task) {
    const int64_t line = task % blocks * size;
    const int64_t at = task / blocks * s.plane_size() + line * s.line_stride + s.start;
    const int64_t n = std::min(size, s.lines - line);
    if (n == kBlock) {
      body(at, std::integral_constant<int64_t, kBlock>());
    } else if (n == 1) {
      body(at, std::integral_constant<int64_t, 1>());
    } else {
      body(at, n);
    }
  });
}

// f(offset of the step, i, maxima of the n lines up to there)
template <typename T, typename N, typename F>
void scan(const Scans& s, int64_t at, N n, const T* input, const F& f) {
  using A = acc_t<T>;
  A maximum[kBlock];
  std::fill_n(maximum, kBlock, -std::numeric_limits<A>::infinity());
  for (int64_t i = 0; i < s.steps; ++i, at += s.step_stride) {
#pragma omp simd
    for (int64_t k = 0; k < n; ++k) {
      const A x = static_cast<A>(input[at + k]);
      maximum[k] = takes_over(x, maximum[k]) ? x : maximum[k];
    }
    f(at, i, maximum);
  }
}

template <typename T>
void forward(const Scans& s, const T* input, T* out) {
  for_each_block(s, [&](int64_t first, auto n) {
    scan(s, first, n, input, [=](int64_t at, int64_t, const acc_t<T>* maximum) {
      for (int64_t k = 0; k < n; ++k) out[at + k] = static_cast<T>(maximum[k]);
    });
  });
}

// Backwards along the scan: a gradient is carried to where its maximum was taken over, which is
// where the input is the maximum.
template <typename T>
void backward_of_columns(const Scans& s, const T* grad, const T* input, T* result) {
  using A = acc_t<T>;
  for_each_block(s, [&](int64_t first, auto n) {
    A carried[kBlock] = {};
    std::vector<A> maxima(s.steps * kBlock);
    scan(s, first, n, input, [&](int64_t, int64_t i, const A* maximum) {
      std::copy_n(maximum, n, &maxima[i * kBlock]);
    });
    for (int64_t i = s.steps - 1; i >= 0; --i) {
      const int64_t at = first + i * s.step_stride;
#pragma omp simd
      for (int64_t k = 0; k < n; ++k) {
        const A x = static_cast<A>(input[at + k]);
        const A sum = carried[k] + static_cast<A>(grad[at + k]);
        const bool here = takes_over(x, maxima[i * kBlock + k]);
        result[at + k] = static_cast<T>(here ? sum : A(0));
        carried[k] = here ? A(0) : sum;
      }
    }
  });
}

template <typename T>
void backward(const Scans& s, const T* grad, const T* input, T* result) {
  if (s.line_stride == 1) return backward_of_columns(s, grad, input, result);
  for_each_block(s, [&](int64_t at, auto) { backward_of_line(s, at, grad, input, result); });
}

Tensor corner_pool(const Tensor& input, int64_t dim, bool from_end) {
  const Scans s(input, dim, from_end);
  const Tensor x = contiguous(input);
  const Tensor out = in_huge_pages(torch::stable::empty_like(x));
  dispatch_floating(x, "corner_pool", [&](auto zero) {
    using T = decltype(zero);
    forward<T>(s, x.const_data_ptr<T>(), out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor corner_pool_backward(const Tensor& grad, const Tensor& input, int64_t dim, bool from_end) {
  const Scans s(input, dim, from_end);
  const Tensor g = contiguous(grad), x = contiguous(input);
  const Tensor result = in_huge_pages(torch::stable::empty_like(x));
  dispatch_floating(x, "corner_pool_backward", [&](auto zero) {
    using T = decltype(zero);
    backward<T>(s, g.const_data_ptr<T>(), x.const_data_ptr<T>(), result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("corner_pool", TORCH_BOX(&corner_pool));
  m.impl("corner_pool_backward", TORCH_BOX(&corner_pool_backward));
}

}  // namespace okulo
