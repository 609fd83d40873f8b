// Numbers that carry their N partial derivatives along: a gradient by the formula of the value.
#pragma once

#include "common/macros.h"

namespace okulo {

template <int N>
struct Dual {
  double value;
  double by[N];

  OKULO_HOST_DEVICE Dual(double x = 0) : value(x), by{} {}

  // The variable of this index.
  OKULO_HOST_DEVICE static Dual variable(double x, int index) {
    Dual result(x);
    result.by[index] = 1;
    return result;
  }

  // A function's value and its derivatives by this number and by another.
  OKULO_HOST_DEVICE Dual chained(double f, double slope, const Dual& other, double slope2) const {
    Dual result(f);
    for (int k = 0; k < N; ++k) result.by[k] = slope * by[k] + slope2 * other.by[k];
    return result;
  }

  OKULO_HOST_DEVICE Dual chained(double f, double slope) const {
    Dual result(f);
    for (int k = 0; k < N; ++k) result.by[k] = slope * by[k];
    return result;
  }

  OKULO_HOST_DEVICE Dual operator-() const { return chained(-value, -1); }

  OKULO_HOST_DEVICE friend Dual operator+(const Dual& a, const Dual& b) {
    return a.chained(a.value + b.value, 1, b, 1);
  }
  OKULO_HOST_DEVICE friend Dual operator-(const Dual& a, const Dual& b) {
    return a.chained(a.value - b.value, 1, b, -1);
  }
  OKULO_HOST_DEVICE friend Dual operator*(const Dual& a, const Dual& b) {
    return a.chained(a.value * b.value, b.value, b, a.value);
  }
  OKULO_HOST_DEVICE friend Dual operator/(const Dual& a, const Dual& b) {
    const double ratio = a.value / b.value;
    return a.chained(ratio, 1 / b.value, b, -ratio / b.value);
  }
  OKULO_HOST_DEVICE friend bool operator<(const Dual& a, const Dual& b) {
    return a.value < b.value;
  }
  OKULO_HOST_DEVICE friend bool operator>(const Dual& a, const Dual& b) {
    return a.value > b.value;
  }
};

OKULO_HOST_DEVICE double value_of(double x) { return x; }

template <int N>
OKULO_HOST_DEVICE double value_of(const Dual<N>& x) {
  return x.value;
}

}  // namespace okulo
