// From the aligned to the natural form of dense masks (https://arxiv.org/abs/1903.12174): the axes.
#pragma once

#include <cmath>

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// Two neighbours, low and low + 1, and their bilinear shares.
template <typename A>
struct Neighbors {
  int64_t low;
  A share[2];
};

// One direction of the aligned form, (side cells, size pixels); the natural one has side * factor
// fine cells and size / factor coarse pixels, rounded up.
struct SwapAxis {
  int64_t side, size, factor;

  OKULO_HOST_DEVICE int64_t fine() const { return side * factor; }
  OKULO_HOST_DEVICE int64_t coarse() const { return (size + factor - 1) / factor; }

  // The cells around fine cell v.
  template <typename A>
  OKULO_HOST_DEVICE Neighbors<A> cells(int64_t v) const {
    const A at = (A(v) + A(0.5)) / A(factor) - A(0.5);
    const A low = std::floor(at);
    return {static_cast<int64_t>(low), {low + 1 - at, at - low}};
  }

  // The pixels around the value at fine cell v of coarse pixel 0; those of pixel y are y * factor
  // further. Either exact or halfway between two.
  template <typename A>
  OKULO_HOST_DEVICE Neighbors<A> pixels(int64_t v) const {
    const int64_t twice = 2 * v - fine() + 1;
    const bool halfway = twice % 2 != 0;
    const A far = halfway ? A(0.5) : A(0);
    return {(twice - halfway) / 2, {1 - far, far}};
  }

  // The fine cells around which cell i is: [first_fine(i), end_fine(i)), a few more included.
  OKULO_HOST_DEVICE int64_t first_fine(int64_t i) const { return i > 0 ? (i - 1) * factor : 0; }
  OKULO_HOST_DEVICE int64_t end_fine(int64_t i) const {
    return i + 2 < side ? (i + 2) * factor : fine();
  }

  // The coarse pixel whose pixel that is, -1 if there is none; low: of pixels(v), or one more.
  OKULO_HOST_DEVICE int64_t coarse_of(int64_t pixel, int64_t low) const {
    const int64_t from = pixel - low;
    const bool exists = from >= 0 && from % factor == 0 && from / factor < coarse();
    return exists ? from / factor : -1;
  }
};

// Input (batch, y.side, x.side, y.size, x.size).
struct SwapSizes {
  int64_t batch;
  SwapAxis y, x;

  SwapSizes(const Tensor& input, int64_t factor) : batch(input.size(0)) {
    STD_TORCH_CHECK(input.dim() == 4 && factor > 0, "swap_align2nat: bad input or factor");
    const int64_t side = std::llround(std::sqrt(static_cast<double>(input.size(1))));
    STD_TORCH_CHECK(side * side == input.size(1), "swap_align2nat: channels are no square number");
    y = {side, input.size(2), factor};
    x = {side, input.size(3), factor};
  }

  OKULO_HOST_DEVICE int64_t input_row(int64_t n, int64_t i, int64_t k, int64_t row) const {
    return (((n * y.side + i) * x.side + k) * y.size + row) * x.size;
  }
  OKULO_HOST_DEVICE int64_t output_row(int64_t n, int64_t v, int64_t u, int64_t row) const {
    return (((n * y.fine() + v) * x.fine() + u) * y.coarse() + row) * x.coarse();
  }
};

// f(cell, pixel, share) of the up to four values that fine cell v of coarse pixel p reads.
template <typename A, typename F>
OKULO_HOST_DEVICE void visit_sources(const SwapAxis& axis, int64_t v, int64_t p, const F& f) {
  const Neighbors<A> cells = axis.cells<A>(v), pixels = axis.pixels<A>(v);
  for (int a = 0; a < 2; ++a) {
    for (int b = 0; b < 2; ++b) {
      const int64_t i = cells.low + a, pixel = p * axis.factor + pixels.low + b;
      const A share = cells.share[a] * pixels.share[b];
      const bool exists = i >= 0 && i < axis.side && pixel >= 0 && pixel < axis.size;
      if (exists && share != 0) f(i, pixel, share);
    }
  }
}

// f(fine cell, coarse pixel, share) of the values that read a pixel of cell i.
template <typename A, typename F>
OKULO_HOST_DEVICE void visit_readers(const SwapAxis& axis, int64_t i, int64_t pixel, const F& f) {
  for (int64_t v = axis.first_fine(i); v < axis.end_fine(i); ++v) {
    const Neighbors<A> cells = axis.cells<A>(v), pixels = axis.pixels<A>(v);
    if (i < cells.low || i > cells.low + 1) continue;
    for (int b = 0; b < 2; ++b) {
      const int64_t p = axis.coarse_of(pixel, pixels.low + b);
      const A share = cells.share[i - cells.low] * pixels.share[b];
      if (p >= 0 && share != 0) f(v, p, share);
    }
  }
}

inline Tensor natural_form(const Tensor& input, const SwapSizes& s) {
  return torch::stable::new_empty(input,
                                  {s.batch, s.y.fine() * s.x.fine(), s.y.coarse(), s.x.coarse()});
}

}  // namespace okulo
