// B numbers that go through the same arithmetic together, such as B channels of a cell.
#pragma once

#include <type_traits>

namespace okulo {

// The compiler takes a small array apart into single numbers; these it keeps in vector registers.
template <typename A>
using Vector __attribute__((vector_size(32), aligned(alignof(A)), may_alias)) = A;

template <typename A, int B>
struct Lanes {
  using Part = std::conditional_t<B == 1, A, Vector<A>>;
  static constexpr int kParts = B * sizeof(A) / sizeof(Part);

  Part parts[kParts] = {};

  Lanes() = default;
  explicit Lanes(const A* from) {
    for (int i = 0; i < kParts; ++i) parts[i] = reinterpret_cast<const Part*>(from)[i];
  }

  void store(A* to) const {
    for (int i = 0; i < kParts; ++i) reinterpret_cast<Part*>(to)[i] = parts[i];
  }

  // this += weight * values
  void add(A weight, const Lanes& values) {
    for (int i = 0; i < kParts; ++i) parts[i] += weight * values.parts[i];
  }
};

}  // namespace okulo
