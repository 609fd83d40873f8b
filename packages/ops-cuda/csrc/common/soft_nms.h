// How scores decay and which goes first (https://arxiv.org/abs/1704.04503).
#pragma once

#include <cmath>

#include "common/macros.h"

namespace okulo {

enum Method : int64_t { kNaive = 0, kLinear = 1, kGaussian = 2 };

struct Settings {
  double iou_threshold, sigma, min_score;
  int64_t method;
};

// The exponential is taken in double so that its last bit, which decides between equal scores, is
// the same everywhere.
template <typename A>
OKULO_HOST_DEVICE A decay(A iou, const Settings& settings) {
  if (settings.method == kGaussian) {
    const double x = iou;
    return x > 0 ? static_cast<A>(std::exp(-x * x / settings.sigma)) : A(1);
  }
  if (!(iou >= static_cast<A>(settings.iou_threshold))) return 1;
  return settings.method == kLinear ? 1 - iou : A(0);
}

// Whether a score goes before another one: greater, and NaN before all numbers.
template <typename A>
OKULO_HOST_DEVICE bool before(A a, A b) {
  return a > b || (a != a && b == b);
}

}  // namespace okulo
