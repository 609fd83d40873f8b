// Direction by direction: for one row of the result the rows of the input are mixed first, for all
// cells along x at once, then each of its values needs two of the mixed ones. Gradients go the same
// way backwards, gathered row by row of the input.
#include "common/swap_align2nat.h"

#include <algorithm>
#include <vector>

#include "cpu/parallel.h"

namespace okulo {
namespace {

// A row of pixels for every cell along x, with zeros where windows reach out of the image.
template <typename A>
class Rows {
 public:
  explicit Rows(const SwapAxis& x)
      : margin_(x.fine() / 2 + 2),
        width_(x.size + x.factor + 2 * margin_),
        values_(x.side * width_) {}

  A* operator[](int64_t cell) { return values_.data() + cell * width_ + margin_; }
  void clear() { std::fill(values_.begin(), values_.end(), A(0)); }

 private:
  int64_t margin_, width_;
  std::vector<A> values_;
};

// f(fine cell u, cell k, share, first pixel) of all pairs along x.
template <typename A, typename F>
void visit_cells(const SwapAxis& x, const F& f) {
  for (int64_t u = 0; u < x.fine(); ++u) {
    const Neighbors<A> cells = x.cells<A>(u);
    const int64_t first = x.pixels<A>(u).low;
    for (int a = 0; a < 2; ++a) {
      const int64_t k = cells.low + a;
      if (cells.share[a] != 0 && k >= 0 && k < x.side) f(u, k, cells.share[a], first);
    }
  }
}

// One row of the result for every fine cell along x.
template <typename T>
void forward_row(const SwapSizes& s, const T* input, acc_t<T> pad, int64_t n, int64_t v, int64_t y,
                 Rows<acc_t<T>>& mixed, std::vector<acc_t<T>>& sum, T* out) {
  using A = acc_t<T>;
  const int64_t width = s.x.size, coarse = s.x.coarse(), step = s.x.factor;
  mixed.clear();
  visit_sources<A>(s.y, v, y, [&](int64_t i, int64_t row, A share) {
    for (int64_t k = 0; k < s.x.side; ++k) {
      const T* from = input + s.input_row(n, i, k, row);
      A* to = mixed[k];
      for (int64_t x = 0; x < width; ++x) to[x] += share * (static_cast<A>(from[x]) - pad);
    }
  });
  const Neighbors<A> pixels = s.x.pixels<A>(0);
  const A near = pixels.share[0], far = pixels.share[1];
  for (int64_t k = 0; far != 0 && k < s.x.side; ++k) {
    A* row = mixed[k];  // becomes the mean of each pixel and the next
    for (int64_t x = -1; x < width; ++x) row[x] = near * row[x] + far * row[x + 1];
  }
  std::fill(sum.begin(), sum.end(), pad);
  visit_cells<A>(s.x, [&](int64_t u, int64_t k, A share, int64_t first) {
    const A* from = mixed[k] + first;
    A* to = sum.data() + u * coarse;
    for (int64_t x = 0; x < coarse; ++x) to[x] += share * from[x * step];
  });
  for (int64_t u = 0; u < s.x.fine(); ++u) {
    T* to = out + s.output_row(n, v, u, y);
    for (int64_t x = 0; x < coarse; ++x) to[x] = static_cast<T>(sum[u * coarse + x]);
  }
}

// One row of the gradient for every cell along x.
template <typename T>
void backward_row(const SwapSizes& s, const T* grad, int64_t n, int64_t i, int64_t row,
                  Rows<acc_t<T>>& mixed, T* out) {
  using A = acc_t<T>;
  const int64_t coarse = s.x.coarse(), step = s.x.factor;
  mixed.clear();
  visit_readers<A>(s.y, i, row, [&](int64_t v, int64_t y, A of_row) {
    visit_cells<A>(s.x, [&](int64_t u, int64_t k, A of_cell, int64_t first) {
      const T* from = grad + s.output_row(n, v, u, y);
      const A share = of_row * of_cell;
      A* to = mixed[k] + first;
      for (int64_t x = 0; x < coarse; ++x) to[x * step] += share * static_cast<A>(from[x]);
    });
  });
  const Neighbors<A> pixels = s.x.pixels<A>(0);
  for (int64_t k = 0; k < s.x.side; ++k) {
    const A* from = mixed[k];
    T* to = out + s.input_row(n, i, k, row);
    for (int64_t x = 0; x < s.x.size; ++x) {
      to[x] = static_cast<T>(pixels.share[0] * from[x] + pixels.share[1] * from[x - 1]);
    }
  }
}

Tensor swap_align2nat(const Tensor& input, int64_t factor, double pad) {
  const SwapSizes s(input, factor);
  const Tensor x = contiguous(input);
  const Tensor out = natural_form(x, s);
  dispatch_floating(x, "swap_align2nat", [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    const int64_t work = 8 * s.x.side * s.x.size;
    parallel_rows(s.batch * s.y.fine(), work * s.y.coarse(), [&](int64_t plane) {
      Rows<acc_t<T>> mixed(s.x);
      std::vector<acc_t<T>> sum(s.x.fine() * s.x.coarse());
      const int64_t n = plane / s.y.fine(), v = plane % s.y.fine();
      for (int64_t y = 0; y < s.y.coarse(); ++y) {
        forward_row(s, from, static_cast<acc_t<T>>(pad), n, v, y, mixed, sum, to);
      }
    });
  });
  return out;
}

Tensor swap_align2nat_backward(const Tensor& grad, const Tensor& input, int64_t factor, double) {
  const SwapSizes s(input, factor);
  const Tensor g = contiguous(grad);
  STD_TORCH_CHECK(g.numel() == s.batch * s.y.fine() * s.x.fine() * s.y.coarse() * s.x.coarse(),
                  "swap_align2nat: the gradient does not fit the input");
  const Tensor result = torch::stable::new_empty(g, input.sizes());
  dispatch_floating(g, "swap_align2nat_backward", [&](auto zero) {
    using T = decltype(zero);
    const T* from = g.const_data_ptr<T>();
    T* to = result.mutable_data_ptr<T>();
    const int64_t work = 8 * s.x.side * s.x.size;
    parallel_rows(s.batch * s.y.side, work * s.y.size, [&](int64_t plane) {
      Rows<acc_t<T>> mixed(s.x);
      for (int64_t row = 0; row < s.y.size; ++row) {
        backward_row(s, from, plane / s.y.side, plane % s.y.side, row, mixed, to);
      }
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("swap_align2nat", TORCH_BOX(&swap_align2nat));
  m.impl("swap_align2nat_backward", TORCH_BOX(&swap_align2nat_backward));
}

}  // namespace okulo
