#include "common/psa_mask.h"

#include <algorithm>

#include "cpu/fresh_memory.h"
#include "cpu/parallel.h"

// Every entry of a result is copied from one place or zero. Results are written row by row; the few
// rows that a row is read from stay in the cache for the rows after it.

namespace okulo {
namespace {

// to[begin..end) from from[0], from[stride], ...; the rest of to[0..n) zero
template <typename T>
void copy_row(T* to, int64_t n, int64_t begin, int64_t end, const T* from, int64_t stride) {
  std::fill(to, to + begin, T(0));
  for (int64_t i = begin; i < end; ++i) to[i] = from[(i - begin) * stride];
  std::fill(to + end, to + n, T(0));
}

template <typename T>
void collect(const PsaSizes& s, const T* input, T* out) {
  parallel_rows(s.batch * s.height, s.width * s.pixels(), [&](int64_t task) {
    const int64_t n = task / s.height, y = task % s.height;
    for (int64_t h = 0; h < s.height; ++h) {
      const int64_t i = y - h + s.half_height();
      for (int64_t x = 0; x < s.width; ++x) {
        T* to = out + s.in_maps(n, y, x, h, 0);
        if (i < 0 || i >= s.mask_height) {
          std::fill_n(to, s.width, T(0));
          continue;
        }
        const int64_t last = x + s.half_width();  // the position that sees x first in its mask
        const int64_t begin = std::max<int64_t>(0, last - s.mask_width + 1);
        copy_row(to, s.width, begin, std::min(s.width, last + 1),
                 input + s.in_masks(n, i, last - begin, h, begin), 1 - s.pixels());
      }
    }
  });
}

template <typename T>
void distribute(const PsaSizes& s, const T* input, T* out) {
  parallel_rows(s.batch * s.height, s.width * s.pixels(), [&](int64_t task) {
    const int64_t n = task / s.height, h = task % s.height;
    for (int64_t y = 0; y < s.height; ++y) {
      const int64_t i = y - h + s.half_height();
      for (int64_t w = 0; w < s.width; ++w) {
        T* to = out + s.in_maps(n, y, 0, h, w);
        if (i < 0 || i >= s.mask_height) {
          std::fill_n(to, s.width, T(0));
          continue;
        }
        const int64_t first = w - s.half_width();
        const int64_t begin = std::max<int64_t>(0, first);
        copy_row(to, s.width, begin, std::min(s.width, first + s.mask_width),
                 input + s.in_masks(n, i, begin - first, h, w), s.pixels());
      }
    }
  });
}

template <typename T>
void backward(const PsaSizes& s, const T* grad, T* result) {
  parallel_rows(s.batch * s.mask_height, s.mask_width * s.pixels(), [&](int64_t task) {
    const int64_t n = task / s.mask_height, i = task % s.mask_height;
    std::fill_n(result + s.in_masks(n, i, 0, 0, 0), s.mask_width * s.pixels(), T(0));
    const int64_t shift_y = i - s.half_height();  // from a position to its target
    const int64_t last = std::min(s.height, s.height - shift_y);
    for (int64_t h = std::max<int64_t>(0, -shift_y); h < last; ++h) {
      for (int64_t j = 0; j < s.mask_width; ++j) {
        const int64_t shift = j - s.half_width();
        const int64_t begin = std::max<int64_t>(0, -shift);
        const int64_t end = std::min(s.width, s.width - shift);
        T* to = result + s.in_masks(n, i, j, h, begin);
        const T* from = grad + s.in_maps(n, h + shift_y, begin + shift, h, begin);
        for (int64_t w = 0; w < end - begin; ++w) to[w] = from[w * (s.pixels() + 1)];
      }
    }
  });
}

Tensor psa_mask(const Tensor& input, int64_t mask_height, int64_t mask_width, bool to_collect) {
  const PsaSizes s(input, mask_height, mask_width, to_collect);
  const Tensor x = contiguous(input);
  const Tensor out =
      in_huge_pages(torch::stable::new_empty(x, {s.batch, s.pixels(), s.height, s.width}));
  dispatch_floating(x, "psa_mask", [&](auto zero) {
    using T = decltype(zero);
    const auto move = to_collect ? collect<T> : distribute<T>;
    move(s, x.const_data_ptr<T>(), out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor psa_mask_backward(const Tensor& grad, const Tensor& input, int64_t mask_height,
                         int64_t mask_width, bool to_collect) {
  const PsaSizes s(input, mask_height, mask_width, to_collect);
  const Tensor g = contiguous(grad);
  const Tensor result = in_huge_pages(torch::stable::new_empty(g, input.sizes()));
  dispatch_floating(g, "psa_mask_backward", [&](auto zero) {
    using T = decltype(zero);
    backward<T>(s, g.const_data_ptr<T>(), result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("psa_mask", TORCH_BOX(&psa_mask));
  m.impl("psa_mask_backward", TORCH_BOX(&psa_mask_backward));
}

}  // namespace okulo
