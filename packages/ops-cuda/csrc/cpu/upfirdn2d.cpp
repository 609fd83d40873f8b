#include "common/upfirdn2d.h"

#include <algorithm>
#include <numeric>

#include "cpu/parallel.h"

namespace okulo {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Along x. Results o = m * period + r of one r take the same taps, each from inputs
// m * step + c. Inputs are laid out by their remainder modulo step, with zeros around, so that
// what a tap adds to all m of one r is one contiguous row.
struct Phases {
  explicit Phases(const Axis& x) : axis(x) {
    const int64_t common = std::gcd(x.up, x.down);
    period = x.up / common;
    step = x.down / common;
    rows = (x.out + period - 1) / period;
    first = floor_div(floor_div(-x.pad, x.up), step);
    const int64_t last = floor_div((period - 1) * x.down + x.taps - 1 - x.pad, x.up);
    length = rows + floor_div(last, step) - first;
  }

  // Where what tap t gives to results of remainder r begins; -1 where it meets inserted zeros.
  int64_t begin(int64_t r, int64_t t) const {
    const int64_t at = r * axis.down + t - axis.pad;
    const int64_t c = floor_div(at, axis.up);
    if (c * axis.up != at) return -1;
    const int64_t m = floor_div(c, step);
    return (c - m * step) * length + m - first;
  }

  template <typename T>
  void lay_out(const T* input, acc_t<T>* row) const {
    std::fill(row, row + step * length, acc_t<T>(0));
    for (int64_t q = 0; q < step; ++q) {
      const int64_t low = std::max<int64_t>(first, floor_div(step - 1 - q, step));
      const int64_t high = std::min(first + length, floor_div(axis.in - 1 - q, step) + 1);
      acc_t<T>* to = row + q * length - first;
      for (int64_t m = low; m < high; ++m) to[m] = static_cast<acc_t<T>>(input[m * step + q]);
    }
  }

  Axis axis;
  int64_t period, step, rows, first, length;
};

template <typename T>
void run(const T* input, const acc_t<T>* taps, int64_t planes, const Axis& y, const Axis& x,
         T* result) {
  using A = acc_t<T>;
  const Phases phases(x);
  const int64_t width = phases.step * phases.length;
  parallel_rows(planes, y.out * x.out * 4, [&](int64_t plane) {
    std::vector<A> image(y.in * width), sum(phases.rows);
    for (int64_t h = 0; h < y.in; ++h) {
      phases.lay_out(input + (plane * y.in + h) * x.in, image.data() + h * width);
    }
    for (int64_t o = 0; o < y.out; ++o) {
      T* out = result + (plane * y.out + o) * x.out;
      for (int64_t r = 0; r < phases.period; ++r) {
        std::fill(sum.begin(), sum.end(), A(0));
        for (int64_t ty = 0; ty < y.taps; ++ty) {
          const int64_t at = o * y.down + ty - y.pad;
          if (at < 0 || at % y.up != 0 || at / y.up >= y.in) continue;
          for (int64_t tx = 0; tx < x.taps; ++tx) {
            const int64_t begin = phases.begin(r, tx);
            if (begin < 0) continue;
            const A* from = image.data() + at / y.up * width + begin;
            const A weight = taps[ty * x.taps + tx];
            A* to = sum.data();
            for (int64_t m = 0; m < phases.rows; ++m) to[m] += weight * from[m];
          }
        }
        const int64_t count = (x.out - r + phases.period - 1) / phases.period;
        for (int64_t m = 0; m < count; ++m) out[m * phases.period + r] = static_cast<T>(sum[m]);
      }
    }
  });
}

template <typename T>
std::vector<acc_t<T>> values(const Tensor& taps, bool turned) {
  const auto* from = taps.const_data_ptr<acc_t<T>>();
  std::vector<acc_t<T>> result(from, from + taps.numel());
  if (turned) std::reverse(result.begin(), result.end());
  return result;
}

Tensor apply(const Tensor& input, const Tensor& taps, bool turned, const Axis& y, const Axis& x) {
  const Tensor from = contiguous(input);
  const Tensor result = torch::stable::new_empty(from, {from.size(0), from.size(1), y.out, x.out});
  const Tensor exact = contiguous(torch::stable::to(taps, accumulate_type(from)));
  dispatch_floating(from, "upfirdn2d", [&](auto zero) {
    using T = decltype(zero);
    const auto weights = values<T>(exact, turned);
    run<T>(from.const_data_ptr<T>(), weights.data(), from.size(0) * from.size(1), y, x,
           result.mutable_data_ptr<T>());
  });
  return result;
}

Tensor upfirdn2d(const Tensor& input, const Tensor& taps, std::vector<int64_t> up,
                 std::vector<int64_t> down, std::vector<int64_t> pad) {
  const auto [y, x] = axes(input, taps, up, down, pad);
  return apply(input, taps, false, y, x);
}

Tensor upfirdn2d_backward(const Tensor& grad, const Tensor& input, const Tensor& taps,
                          std::vector<int64_t> up, std::vector<int64_t> down,
                          std::vector<int64_t> pad) {
  const auto [y, x] = axes(input, taps, up, down, pad);
  return apply(grad, taps, true, y.gradient(), x.gradient());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("upfirdn2d", TORCH_BOX(&upfirdn2d));
  m.impl("upfirdn2d_backward", TORCH_BOX(&upfirdn2d_backward));
}

}  // namespace okulo
