// Running maxima along the rows or columns of planes (https://arxiv.org/abs/1808.01244, Eq. 5).
#pragma once

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// A scan goes over the steps of a line; the lines of a plane are independent of each other.
struct Scans {
  int64_t planes, steps, lines, step_stride, line_stride;
  int64_t start;  // of the first step

  Scans(const Tensor& input, int64_t dim, bool from_end)
      : planes(input.size(0) * input.size(1)),
        steps(input.size(dim)),
        lines(input.size(5 - dim)),
        step_stride(dim == 2 ? input.size(3) : 1),
        line_stride(dim == 2 ? 1 : input.size(3)),
        start(0) {
    STD_TORCH_CHECK(input.dim() == 4, "corner_pool: expected four dimensions");
    if (from_end) {
      start = (steps - 1) * step_stride;
      step_stride = -step_stride;
    }
  }

  OKULO_HOST_DEVICE int64_t plane_size() const { return steps * lines; }
};

// Does x become the maximum after maximum? The last of equal ones does, and NaN for good.
template <typename A>
OKULO_HOST_DEVICE bool takes_over(A x, A maximum) {
  return (x >= maximum) | (x != x);
}

// The gradient along one line, of which at is the first step: the gradients from where a maximum
// was taken over to the next such place are added up there.
template <typename T>
OKULO_HOST_DEVICE void backward_of_line(const Scans& s, int64_t at, const T* grad, const T* input,
                                        T* result) {
  using A = acc_t<T>;
  if (s.steps == 0) return;
  int64_t holder = at;
  A maximum = static_cast<A>(input[at]), sum = static_cast<A>(grad[at]);
  for (int64_t i = 1; i < s.steps; ++i) {
    at += s.step_stride;
    const A x = static_cast<A>(input[at]);
    if (takes_over(x, maximum)) {
      result[holder] = static_cast<T>(sum);
      maximum = x;
      holder = at;
      sum = 0;
    } else {
      result[at] = T(0);
    }
    sum += static_cast<A>(grad[at]);
  }
  result[holder] = static_cast<T>(sum);
}

}  // namespace okulo
