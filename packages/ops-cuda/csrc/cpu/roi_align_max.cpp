// ROIAlign by the maximum of bilinear samples, with the number of the sample in its bin.
#include <limits>

#include "cpu/parallel.h"
#include "cpu/roi_align.h"

namespace okulo {
namespace {

template <typename A>
struct Sample {
  int64_t number;
  RoiTaps<A> taps;
};

// The samples of every bin along one axis that read the map: samples[begin[i]] .. [begin[i + 1]].
template <typename A>
struct Samples {
  std::vector<int64_t> begin{0};
  std::vector<Sample<A>> samples;

  Samples(const RoiAxis<A>& axis, int64_t bins, int64_t cells) {
    for (int64_t i = 0; i < bins; ++i) {
      const int64_t end = axis.last(i, cells);
      for (int64_t s = axis.first(i); s < end; ++s) {
        const RoiTaps<A> taps = roi_taps(axis.position(i, s), cells);
        if (taps.inside) samples.push_back({s, taps});
      }
      begin.push_back(static_cast<int64_t>(samples.size()));
    }
  }
};

template <typename T>
struct Pooling {
  using A = acc_t<T>;
  const T* map;
  const A* rois;
  int64_t count, images, channels, rows, columns;
  A scale;
  int64_t height, width, ratio;
  bool aligned;

  Pooling(const Tensor& input, const Tensor& boxes, double scale, int64_t height, int64_t width,
          int64_t ratio, bool aligned)
      : map(input.const_data_ptr<T>()),
        rois(boxes.const_data_ptr<A>()),
        count(boxes.size(0)),
        images(input.size(0)),
        channels(input.size(1)),
        rows(input.size(2)),
        columns(input.size(3)),
        scale(static_cast<A>(scale)),
        height(height),
        width(width),
        ratio(ratio),
        aligned(aligned) {
    for (int64_t k = 0; k < count; ++k) image_of(rois + 5 * k, images);
  }

  RoiAxis<A> y(int64_t k) const {
    return roi_axis(rois[5 * k + 2], rois[5 * k + 4], scale, height, ratio, aligned);
  }
  RoiAxis<A> x(int64_t k) const {
    return roi_axis(rois[5 * k + 1], rois[5 * k + 3], scale, width, ratio, aligned);
  }
};

template <typename T>
void pool_box(const Pooling<T>& in, int64_t k, T* pooled, int64_t* best) {
  using A = acc_t<T>;
  const RoiAxis<A> y_axis = in.y(k);
  const RoiAxis<A> x_axis = in.x(k);
  const Samples<A> y(y_axis, in.height, in.rows);
  const Samples<A> x(x_axis, in.width, in.columns);
  const T* image =
      in.map + image_of(in.rois + 5 * k, in.images) * in.channels * in.rows * in.columns;
  for (int64_t c = 0; c < in.channels; ++c) {
    const T* plane = image + c * in.rows * in.columns;
    for (int64_t i = 0; i < in.height; ++i) {
      for (int64_t j = 0; j < in.width; ++j) {
        A most = -std::numeric_limits<A>::infinity();
        int64_t number = -1;
        for (int64_t a = y.begin[i]; a < y.begin[i + 1]; ++a) {
          const RoiTaps<A>& v = y.samples[a].taps;
          const T* low = plane + v.low * in.columns;
          const T* high = plane + v.high * in.columns;
          for (int64_t b = x.begin[j]; b < x.begin[j + 1]; ++b) {
            const RoiTaps<A>& h = x.samples[b].taps;
            const A value = v.low_weight * h.low_weight * static_cast<A>(low[h.low]) +
                            v.low_weight * h.high_weight * static_cast<A>(low[h.high]) +
                            v.high_weight * h.low_weight * static_cast<A>(high[h.low]) +
                            v.high_weight * h.high_weight * static_cast<A>(high[h.high]);
            // The first of equal ones; NaN wins.
            if (number < 0 || value > most || (value != value && most == most)) {
              most = value;
              number = y.samples[a].number * x_axis.count + x.samples[b].number;
            }
          }
        }
        const int64_t reading = (y.begin[i + 1] - y.begin[i]) * (x.begin[j + 1] - x.begin[j]);
        const bool outside_wins = reading < y_axis.count * x_axis.count && most < 0;
        if (number < 0 || outside_wins) {
          most = 0;
          number = -1;
        }
        *pooled++ = static_cast<T>(most);
        *best++ = number;
      }
    }
  }
}

template <typename T>
void spread_plane(const Pooling<T>& in, int64_t image, int64_t c, const T* grad,
                  const int64_t* best, T* result) {
  using A = acc_t<T>;
  std::vector<A> sum(in.rows * in.columns, A(0));
  const int64_t bins = in.height * in.width;
  for (int64_t k = 0; k < in.count; ++k) {
    if (image_of(in.rois + 5 * k, in.images) != image) continue;
    const RoiAxis<A> y = in.y(k);
    const RoiAxis<A> x = in.x(k);
    for (int64_t b = 0; b < bins; ++b) {
      const int64_t at = (k * in.channels + c) * bins + b;
      if (best[at] < 0 || x.count == 0) continue;
      const RoiTaps<A> v = roi_taps(y.position(b / in.width, best[at] / x.count), in.rows);
      const RoiTaps<A> h = roi_taps(x.position(b % in.width, best[at] % x.count), in.columns);
      if (!v.inside || !h.inside) continue;
      const A g = static_cast<A>(grad[at]);
      sum[v.low * in.columns + h.low] += v.low_weight * h.low_weight * g;
      sum[v.low * in.columns + h.high] += v.low_weight * h.high_weight * g;
      sum[v.high * in.columns + h.low] += v.high_weight * h.low_weight * g;
      sum[v.high * in.columns + h.high] += v.high_weight * h.high_weight * g;
    }
  }
  for (size_t i = 0; i < sum.size(); ++i) result[i] = static_cast<T>(sum[i]);
}

std::tuple<Tensor, Tensor> roi_align_max(const Tensor& input, const Tensor& rois, double scale,
                                         int64_t height, int64_t width, int64_t ratio,
                                         bool aligned) {
  const Tensor x = contiguous(input);
  const Tensor r = accumulate_rois(rois, x);
  const int64_t each = x.size(1) * height * width;
  const Tensor pooled = torch::stable::new_empty(x, {r.size(0), x.size(1), height, width});
  const Tensor best =
      torch::stable::new_empty(x, {r.size(0), x.size(1), height, width}, ScalarType::Long);
  dispatch_floating(x, "roi_align_max", [&](auto zero) {
    using T = decltype(zero);
    const Pooling<T> in(x, r, scale, height, width, ratio, aligned);
    T* out = pooled.mutable_data_ptr<T>();
    int64_t* numbers = best.mutable_data_ptr<int64_t>();
    parallel_rows(in.count, 64 * each,
                  [&](int64_t k) { pool_box(in, k, out + k * each, numbers + k * each); });
  });
  return {pooled, best};
}

Tensor roi_align_max_backward(const Tensor& grad, const Tensor& input, const Tensor& rois,
                              double scale, int64_t height, int64_t width, int64_t ratio,
                              bool aligned, const Tensor& best) {
  const Tensor g = contiguous(grad);
  const Tensor x = contiguous(input);
  const Tensor r = accumulate_rois(rois, x);
  const Tensor numbers = contiguous(best);
  check_gradient(g, r.size(0) * x.size(1) * height * width);
  check_gradient(numbers, g.numel());
  const Tensor result = torch::stable::empty_like(x);
  dispatch_floating(x, "roi_align_max_backward", [&](auto zero) {
    using T = decltype(zero);
    const Pooling<T> in(x, r, scale, height, width, ratio, aligned);
    T* out = result.mutable_data_ptr<T>();
    const int64_t plane = in.rows * in.columns;
    const int64_t work = plane + in.count * height * width * 16;
    parallel_rows(in.images * in.channels, work, [&](int64_t p) {
      spread_plane(in, p / in.channels, p % in.channels, g.const_data_ptr<T>(),
                   numbers.const_data_ptr<int64_t>(), out + p * plane);
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("roi_align_max", TORCH_BOX(&roi_align_max));
  m.impl("roi_align_max_backward", TORCH_BOX(&roi_align_max_backward));
}

}  // namespace okulo
