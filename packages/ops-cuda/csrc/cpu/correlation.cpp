// Channels-last, so that every product of two pixels is one contiguous sum. Gradients are gathered
// pixel by pixel, which needs no order among threads.
#include "common/correlation.h"

#include "common/products.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

struct Geometry : CorrelationSizes {
  using CorrelationSizes::CorrelationSizes;

  int64_t pixel(int64_t n, int64_t y, int64_t x) const {
    return ((n * height + y) * width + x) * channels;
  }
};

template <typename A>
A dot(const A* a, const A* b, int64_t count) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < count; ++c) sum += a[c] * b[c];
  return sum;
}

template <typename A>
void forward(const Geometry& g, const Tensor& first, const Tensor& second, const Tensor& result) {
  const A* a = first.const_data_ptr<A>();
  const A* b = second.const_data_ptr<A>();
  A* out = result.mutable_data_ptr<A>();
  const int64_t shifts = g.shifts(), taps = g.kernel * g.kernel;
  const int64_t work = g.out_width * shifts * taps * g.channels;
  parallel_rows(g.batch * g.out_height, work, [&](int64_t row) {
    const int64_t n = row / g.out_height, oy = row % g.out_height;
    for (int64_t ox = 0; ox < g.out_width; ++ox) {
      for (int64_t shift = 0; shift < shifts; ++shift) {
        A sum = 0;
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t y = oy * g.stride - g.padding + tap / g.kernel * g.dilation;
          const int64_t x = ox * g.stride - g.padding + tap % g.kernel * g.dilation;
          const int64_t y2 = y + g.shift_y(shift), x2 = x + g.shift_x(shift);
          if (!g.inside(y, x) || !g.inside(y2, x2)) continue;
          sum += dot(a + g.pixel(n, y, x), b + g.pixel(n, y2, x2), g.channels);
        }
        out[g.output(n, shift, oy, ox)] = sum;
      }
    }
  });
}

// sign 1: of the first input from the second; sign -1: of the second from the first.
template <typename A>
void backward(const Geometry& g, const Tensor& grad, const Tensor& other, int64_t sign,
              const Tensor& result) {
  const A* slopes = grad.const_data_ptr<A>();
  const A* values = other.const_data_ptr<A>();
  A* out = result.mutable_data_ptr<A>();
  const int64_t shifts = g.shifts();
  parallel_rows(g.batch * g.height, g.width * shifts * g.channels, [&](int64_t row) {
    const int64_t n = row / g.height, y = row % g.height;
    for (int64_t x = 0; x < g.width; ++x) {
      A* to = out + g.pixel(n, y, x);
      for (int64_t shift = 0; shift < shifts; ++shift) {
        const int64_t y2 = y + sign * g.shift_y(shift), x2 = x + sign * g.shift_x(shift);
        if (!g.inside(y2, x2)) continue;
        const A slope =
            sign > 0 ? g.slope_at(slopes, n, shift, y, x) : g.slope_at(slopes, n, shift, y2, x2);
        const A* from = values + g.pixel(n, y2, x2);
        for (int64_t c = 0; c < g.channels; ++c) to[c] += slope * from[c];
      }
    }
  });
}

Tensor correlation(const Tensor& input1, const Tensor& input2, int64_t kernel, int64_t reach,
                   int64_t stride, int64_t padding, int64_t dilation, int64_t patch_dilation) {
  const Geometry g(input1, input2, kernel, reach, stride, padding, dilation, patch_dilation);
  const ScalarType type = accumulate_type(input1);
  const Tensor a = channels_last(input1, type), b = channels_last(input2, type);
  const Tensor result =
      torch::stable::new_empty(a, {g.batch, g.side(), g.side(), g.out_height, g.out_width});
  if (type == ScalarType::Double) {
    forward<double>(g, a, b, result);
  } else {
    forward<float>(g, a, b, result);
  }
  return torch::stable::to(result, input1.scalar_type());
}

std::tuple<Tensor, Tensor> correlation_backward(const Tensor& grad, const Tensor& input1,
                                                const Tensor& input2, int64_t kernel, int64_t reach,
                                                int64_t stride, int64_t padding, int64_t dilation,
                                                int64_t patch_dilation) {
  const Geometry g(input1, input2, kernel, reach, stride, padding, dilation, patch_dilation);
  g.check_gradient(grad);
  const ScalarType type = accumulate_type(input1);
  const Tensor slope = as_contiguous(grad, type);
  const auto gradient = [&](const Tensor& other, int64_t sign) {
    const Tensor values = channels_last(other, type);
    const Tensor sum = torch::stable::new_zeros(values, {g.batch, g.height, g.width, g.channels});
    if (type == ScalarType::Double) {
      backward<double>(g, slope, values, sign, sum);
    } else {
      backward<float>(g, slope, values, sign, sum);
    }
    const Tensor first = torch::stable::transpose(torch::stable::transpose(sum, 2, 3), 1, 2);
    return as_contiguous(first, input1.scalar_type());
  };
  return {gradient(input2, 1), gradient(input1, -1)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("correlation", TORCH_BOX(&correlation));
  m.impl("correlation_backward", TORCH_BOX(&correlation_backward));
}

}  // namespace okulo
