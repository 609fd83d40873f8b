#include "common/carafe.h"

#include <vector>

#include "cpu/parallel.h"

// All three kernels work on a row h of the features in one group of one image, whose outputs are
// rows h * scale to (h + 1) * scale - 1. A row of features is spread to the width of the output,
// each cell scale times, between margins of zeros; tap j of output x then stands at x + j * scale.

namespace okulo {
namespace {

template <typename T>
struct Carafe : CarafeSizes {
  using A = acc_t<T>;

  explicit Carafe(const CarafeSizes& sizes) : CarafeSizes(sizes) {}

  int64_t spread_width() const { return (width + kernel - 1) * scale; }

  template <typename Body>
  void for_each_row(const Body& body) const {
    const int64_t work = group_channels() * taps() * scale * out_width();
    parallel_rows(batch * groups * height, work, [&](int64_t task) {
      const int64_t plane = task / height;  // group of an image
      body(plane, task % height, plane * group_channels());
    });
  }

  // The window's rows around row h of a channel: kernel x spread_width.
  void spread(const T* channel, int64_t h, A* to) const {
    for (int64_t i = 0; i < kernel; ++i, to += spread_width()) {
      const int64_t row = h + i - radius();
      if (row < 0 || row >= height) {
        std::fill_n(to, spread_width(), A(0));
        continue;
      }
      std::fill_n(to, radius() * scale, A(0));
      std::fill_n(to + (width + radius()) * scale, radius() * scale, A(0));
      for (int64_t w = 0; w < width; ++w) {
        std::fill_n(to + (w + radius()) * scale, scale, static_cast<A>(channel[row * width + w]));
      }
    }
  }

  // Where the masks of a tap for row y of the output begin.
  int64_t mask_row(int64_t plane, int64_t tap, int64_t y) const {
    return ((plane * taps() + tap) * out_height() + y) * out_width();
  }
};

template <typename From, typename To>
void convert(const From* from, int64_t n, To* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
}

// out += sum of Taps rows of the window times their masks
template <int Taps, typename A>
void add_taps(int64_t n, int64_t scale, const A* spread, const A* masks, A* __restrict out) {
#pragma omp simd
  for (int64_t x = 0; x < n; ++x) {
    A sum = 0;
    for (int j = 0; j < Taps; ++j) sum += spread[x + j * scale] * masks[x + j * n];
    out[x] += sum;
  }
}

template <typename A>
void add_window_row(const CarafeSizes& s, const A* spread, const A* masks, A* out) {
  const int64_t n = s.out_width();
  const int64_t step = s.kernel % 5 == 0 ? 5 : s.kernel % 3 == 0 ? 3 : 1;
  for (int64_t j = 0; j < s.kernel; j += step) {
    const A *from = spread + j * s.scale, *by = masks + j * n;
    if (step == 5) add_taps<5>(n, s.scale, from, by, out);
    if (step == 3) add_taps<3>(n, s.scale, from, by, out);
    if (step == 1) add_taps<1>(n, s.scale, from, by, out);
  }
}

template <typename A>
void add_product(int64_t n, const A* a, const A* b, A* __restrict out) {
#pragma omp simd
  for (int64_t x = 0; x < n; ++x) out[x] += a[x] * b[x];
}

template <typename T>
void forward(const Carafe<T>& s, const T* features, const T* masks, T* out) {
  using A = acc_t<T>;
  const int64_t n = s.out_width();
  s.for_each_row([&](int64_t plane, int64_t h, int64_t first) {
    std::vector<A> window(s.kernel * s.spread_width()), mask(s.scale * s.taps() * n), sum(n);
    for (int64_t j = 0; j < s.scale; ++j) {
      for (int64_t t = 0; t < s.taps(); ++t) {
        convert(masks + s.mask_row(plane, t, h * s.scale + j), n, &mask[(j * s.taps() + t) * n]);
      }
    }
    for (int64_t c = first; c < first + s.group_channels(); ++c) {
      s.spread(features + c * s.height * s.width, h, window.data());
      for (int64_t j = 0; j < s.scale; ++j) {
        std::fill(sum.begin(), sum.end(), A(0));
        for (int64_t i = 0; i < s.kernel; ++i) {
          add_window_row<A>(s, &window[i * s.spread_width()],
                            &mask[(j * s.taps() + i * s.kernel) * n], sum.data());
        }
        convert(sum.data(), n, out + (c * s.out_height() + h * s.scale + j) * n);
      }
    }
  });
}

template <typename T>
void backward_of_masks(const Carafe<T>& s, const T* grad, const T* features, T* result) {
  using A = acc_t<T>;
  const int64_t n = s.out_width();
  s.for_each_row([&](int64_t plane, int64_t h, int64_t first) {
    std::vector<A> window(s.kernel * s.spread_width()), sum(s.scale * s.taps() * n), row(n);
    for (int64_t c = first; c < first + s.group_channels(); ++c) {
      s.spread(features + c * s.height * s.width, h, window.data());
      for (int64_t j = 0; j < s.scale; ++j) {
        convert(grad + (c * s.out_height() + h * s.scale + j) * n, n, row.data());
        for (int64_t t = 0; t < s.taps(); ++t) {
          const int64_t at = t / s.kernel * s.spread_width() + t % s.kernel * s.scale;
          add_product(n, row.data(), &window[at], &sum[(j * s.taps() + t) * n]);
        }
      }
    }
    for (int64_t j = 0; j < s.scale; ++j) {
      for (int64_t t = 0; t < s.taps(); ++t) {
        convert(&sum[(j * s.taps() + t) * n], n, result + s.mask_row(plane, t, h * s.scale + j));
      }
    }
  });
}

template <typename T>
void backward_of_features(const Carafe<T>& s, const T* grad, const T* masks, T* result) {
  using A = acc_t<T>;
  const int64_t n = s.out_width(), rows = s.kernel * s.scale;
  s.for_each_row([&](int64_t plane, int64_t h, int64_t first) {
    std::vector<A> mask(rows * s.kernel * n), spread(s.spread_width()), row(n);
    // f(i, y, masks of window row i in row y) for the rows y of the output that read row h
    const auto for_each_reader = [&](const auto& f) {
      for (int64_t i = 0; i < s.kernel; ++i) {
        const int64_t cell = h + s.radius() - i;
        if (cell < 0 || cell >= s.height) continue;
        for (int64_t j = 0; j < s.scale; ++j) {
          f(i, cell * s.scale + j, &mask[(i * s.scale + j) * s.kernel * n]);
        }
      }
    };
    for_each_reader([&](int64_t i, int64_t y, A* to) {
      for (int64_t j = 0; j < s.kernel; ++j) {
        convert(masks + s.mask_row(plane, i * s.kernel + j, y), n, to + j * n);
      }
    });
    for (int64_t c = first; c < first + s.group_channels(); ++c) {
      std::fill(spread.begin(), spread.end(), A(0));
      for_each_reader([&](int64_t, int64_t y, const A* by) {
        convert(grad + (c * s.out_height() + y) * n, n, row.data());
        for (int64_t j = 0; j < s.kernel; ++j) {
          add_product(n, row.data(), by + j * n, &spread[j * s.scale]);
        }
      });
      for (int64_t w = 0; w < s.width; ++w) {
        A sum = 0;
        for (int64_t j = 0; j < s.scale; ++j) sum += spread[(w + s.radius()) * s.scale + j];
        result[(c * s.height + h) * s.width + w] = static_cast<T>(sum);
      }
    }
  });
}

Tensor carafe(const Tensor& features, const Tensor& masks, int64_t kernel, int64_t groups,
              int64_t scale) {
  const CarafeSizes sizes(features, masks, kernel, groups, scale);
  const Tensor x = contiguous(features), m = contiguous(masks);
  const Tensor out = torch::stable::new_empty(
      x, {sizes.batch, sizes.channels, sizes.out_height(), sizes.out_width()});
  dispatch_floating(x, "carafe", [&](auto zero) {
    using T = decltype(zero);
    forward<T>(Carafe<T>(sizes), x.const_data_ptr<T>(), m.const_data_ptr<T>(),
               out.mutable_data_ptr<T>());
  });
  return out;
}

std::tuple<Tensor, Tensor> carafe_backward(const Tensor& grad, const Tensor& features,
                                           const Tensor& masks, int64_t kernel, int64_t groups,
                                           int64_t scale) {
  const CarafeSizes sizes(features, masks, kernel, groups, scale);
  const Tensor g = contiguous(grad), x = contiguous(features), m = contiguous(masks);
  check_gradient(g, x.numel() * scale * scale);
  const Tensor by_features = torch::stable::empty_like(x), by_masks = torch::stable::empty_like(m);
  dispatch_floating(x, "carafe_backward", [&](auto zero) {
    using T = decltype(zero);
    const Carafe<T> s(sizes);
    const T* from = g.const_data_ptr<T>();
    backward_of_features<T>(s, from, m.const_data_ptr<T>(), by_features.mutable_data_ptr<T>());
    backward_of_masks<T>(s, from, x.const_data_ptr<T>(), by_masks.mutable_data_ptr<T>());
  });
  return {by_features, by_masks};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("carafe", TORCH_BOX(&carafe));
  m.impl("carafe_backward", TORCH_BOX(&carafe_backward));
}

}  // namespace okulo
