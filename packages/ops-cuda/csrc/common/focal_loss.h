// Focal losses of one logit and of one row (https://arxiv.org/abs/1708.02002, Eq. 5) with their
// derivatives.
#pragma once

#include <type_traits>

#include "common/vector_math.h"

namespace okulo {

// Calls body with gamma as a constant where a product is cheaper than a power, else with -1.
template <typename Body>
void dispatch_gamma(double gamma, const Body& body) {
  if (gamma == 0) return body(std::integral_constant<int, 0>{});
  if (gamma == 1) return body(std::integral_constant<int, 1>{});
  if (gamma == 2) return body(std::integral_constant<int, 2>{});
  body(std::integral_constant<int, -1>{});
}

// q^gamma
template <int whole, typename T>
OKULO_HOST_DEVICE T focus(T q, T log_q, T gamma) {
  if constexpr (whole == 0) return 1;
  if constexpr (whole == 1) return q;
  if constexpr (whole == 2) return q * q;
  return vector_exp(gamma * log_q);
}

// What both the loss and its derivative need of z, the logit with its sign turned for negatives.
template <typename T>
struct Sigmoid {
  T p;      // sigmoid(z)
  T q;      // 1 - p
  T log_p;  // without overflow
  T log_q;

  OKULO_HOST_DEVICE explicit Sigmoid(T z) {
    const T e = vector_exp(-std::fabs(z));
    const T larger = 1 / (1 + e);
    const T rest = vector_log1p(e);
    p = (z < 0 ? e : 1) * larger;
    q = (z < 0 ? 1 : e) * larger;
    log_p = (z < 0 ? z : 0) - rest;
    log_q = (z < 0 ? 0 : -z) - rest;
  }
};

template <int whole, typename T>
OKULO_HOST_DEVICE T focal_loss(T z, T gamma) {
  const Sigmoid<T> s(z);
  return -focus<whole>(s.q, s.log_q, gamma) * s.log_p;
}

template <int whole, typename T>
OKULO_HOST_DEVICE T focal_loss_derivative(T z, T gamma) {
  const Sigmoid<T> s(z);
  return focus<whole>(s.q, s.log_q, gamma) * (gamma * s.p * s.log_p - s.q);
}

// The logarithm of a row's probability is floored at that of the smallest normal float, whatever
// the dtype.
template <typename T>
OKULO_HOST_DEVICE T floored(T log_p) {
  constexpr T kFloor = -87.33654475055310898657;
  return log_p < kFloor ? kFloor : log_p;
}

// Loss of a row whose target has probability exp(log_p).
template <int whole, typename T>
OKULO_HOST_DEVICE T row_focal_loss(T log_p, T gamma) {
  const T q = 1 - vector_exp(log_p);
  return -focus<whole>(q, std::log(q), gamma) * floored(log_p);
}

// Its derivative by log_p; below the floor that of the logarithm goes on.
template <int whole, typename T>
OKULO_HOST_DEVICE T row_focal_loss_derivative(T log_p, T gamma) {
  const T p = vector_exp(log_p);
  const T q = 1 - p;
  const T ratio = q > 0 ? floored(log_p) / q : -1;  // its limit
  return focus<whole>(q, std::log(q), gamma) * (gamma * p * ratio - 1);
}

}  // namespace okulo
