// Focal loss of one logit (https://arxiv.org/abs/1708.02002, Eq. 5) and its derivative.
#pragma once

#include <cmath>

#include "common/macros.h"

namespace okulo {

// z: the logit, its sign turned for negatives; log(sigmoid(z)) without overflow.
template <typename T>
OKULO_HOST_DEVICE T log_sigmoid(T z) {
  return z < 0 ? z - std::log1p(std::exp(z)) : -std::log1p(std::exp(-z));
}

template <typename T>
OKULO_HOST_DEVICE T sigmoid(T z) {
  return z < 0 ? std::exp(z) / (1 + std::exp(z)) : 1 / (1 + std::exp(-z));
}

template <typename T>
OKULO_HOST_DEVICE T focal_loss(T z, T gamma) {
  return -std::pow(sigmoid(-z), gamma) * log_sigmoid(z);
}

template <typename T>
OKULO_HOST_DEVICE T focal_loss_derivative(T z, T gamma) {
  const T p = sigmoid(z);
  const T q = sigmoid(-z);
  return std::pow(q, gamma) * (gamma * p * log_sigmoid(z) - q);
}

}  // namespace okulo
