// Elementary functions that a compiler turns into vector code: no branches, no tables, no calls.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace okulo {

// The general case, double and GPUs: the library's own.
template <typename T>
OKULO_HOST_DEVICE T vector_exp(T x) {
  return std::exp(x);
}
template <typename T>
OKULO_HOST_DEVICE T vector_log1p(T x) {
  return std::log1p(x);
}

#ifndef __CUDACC__

// 2^n for n in [-126, 127].
inline float power_of_two(int32_t n) { return std::bit_cast<float>((n + 127) << 23); }

// Within 1 ulp, subnormal results and infinities included; NaN stays NaN. exp(x) = 2^n exp(r) with
// |r| <= log(2) / 2, where the Taylor series of degree 7 is off by 5e-9.
template <>
inline float vector_exp(float x) {
  const float above = x < -104.0f ? -104.0f : x;
  const float inside = above > 89.0f ? 89.0f : above;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  constexpr float kShift = 12582912.0f;
  const float shifted = std::fma(inside, 1.44269504f, kShift);
  const int32_t n = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kShift);
  const float whole = shifted - kShift;
  // log(2) in two parts, the first short enough for an exact product.
  const float r = std::fma(whole, 2.12194440e-4f, std::fma(whole, -0.693359375f, inside));
  float series = 1.0f / 5040;
  series = std::fma(series, r, 1.0f / 720);
  series = std::fma(series, r, 1.0f / 120);
  series = std::fma(series, r, 1.0f / 24);
  series = std::fma(series, r, 1.0f / 6);
  series = std::fma(series, r, 0.5f);
  series = std::fma(series * r, r, r) + 1.0f;
  // In two steps: 2^n alone may be subnormal or infinite where the result is not.
  const int32_t half = n >> 1;
  return series * power_of_two(half) * power_of_two(n - half);
}

// Within 2 ulp for x in [0, 1]: log(1 + x) = 2 artanh(s), s = x / (2 + x) <= 1/3.
template <>
inline float vector_log1p(float x) {
  const float s = x / (2.0f + x);
  const float square = s * s;
  float series = 1.0f / 15;
  series = std::fma(series, square, 1.0f / 13);
  series = std::fma(series, square, 1.0f / 11);
  series = std::fma(series, square, 1.0f / 9);
  series = std::fma(series, square, 1.0f / 7);
  series = std::fma(series, square, 1.0f / 5);
  series = std::fma(series, square, 1.0f / 3);
  return 2.0f * std::fma(series * square, s, s);
}

#endif

}  // namespace okulo
