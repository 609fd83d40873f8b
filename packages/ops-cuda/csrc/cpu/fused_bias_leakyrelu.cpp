#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

void check(const Tensor& input, const Tensor& bias) {
  STD_TORCH_CHECK(input.dim() >= 2 && bias.numel() == input.size(1),
                  "fused_bias_leakyrelu: expected input (N, C, ...) and bias (C,)");
}

// Elements of one channel of one image.
int64_t row_length(const Tensor& input) {
  int64_t length = 1;
  for (int64_t d = 2; d < input.dim(); ++d) length *= input.size(d);
  return length;
}

Tensor fused_bias_leakyrelu(const Tensor& input, const Tensor& bias, double slope, double scale) {
  const Tensor x = contiguous(input);
  const Tensor b = contiguous(torch::stable::to(bias, accumulate_type(x)));
  check(x, b);
  const Tensor result = torch::stable::empty_like(x);
  dispatch_floating(x, "fused_bias_leakyrelu", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const int64_t channels = x.size(1), length = row_length(x);
    const T* from = x.const_data_ptr<T>();
    const A* shift = b.const_data_ptr<A>();
    T* to = result.mutable_data_ptr<T>();
    const A below = static_cast<A>(slope), factor = static_cast<A>(scale);
    parallel_rows(x.size(0) * channels, length, [=](int64_t row) {
      const A add = shift[row % channels];
      for (int64_t i = row * length; i < (row + 1) * length; ++i) {
        const A value = static_cast<A>(from[i]) + add;
        to[i] = static_cast<T>((value > 0 ? value : value * below) * factor);
      }
    });
  });
  return result;
}

std::tuple<Tensor, Tensor> fused_bias_leakyrelu_backward(const Tensor& grad, const Tensor& input,
                                                         const Tensor& bias, double slope,
                                                         double scale) {
  const Tensor x = contiguous(input), g = contiguous(grad);
  const Tensor b = contiguous(torch::stable::to(bias, accumulate_type(x)));
  check(x, b);
  check_gradient(g, x.numel());
  const Tensor result = torch::stable::empty_like(x);
  const Tensor of_bias = torch::stable::empty_like(b);
  dispatch_floating(x, "fused_bias_leakyrelu_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const int64_t batch = x.size(0), channels = x.size(1), length = row_length(x);
    const T *from = x.const_data_ptr<T>(), *slopes = g.const_data_ptr<T>();
    const A* shift = b.const_data_ptr<A>();
    T* to = result.mutable_data_ptr<T>();
    A* sums = of_bias.mutable_data_ptr<A>();
    const A above = static_cast<A>(scale), below = static_cast<A>(slope) * above;
    parallel_rows(channels, batch * length, [=](int64_t c) {
      constexpr int64_t lanes = 16;  // sums side by side, which the compiler makes a vector
      A sum[lanes] = {};
      for (int64_t n = 0; n < batch; ++n) {
        const int64_t first = (n * channels + c) * length;
        const auto one = [&](int64_t i) {
          const A value = static_cast<A>(from[i]) + shift[c];
          const A result = static_cast<A>(slopes[i]) * (value > 0 ? above : below);
          to[i] = static_cast<T>(result);
          return result;
        };
        int64_t i = 0;
        for (; i + lanes <= length; i += lanes) {
          for (int64_t l = 0; l < lanes; ++l) sum[l] += one(first + i + l);
        }
        for (; i < length; ++i) sum[0] += one(first + i);
      }
      A total = 0;
      for (const A part : sum) total += part;
      sums[c] = total;
    });
  });
  return {result, torch::stable::to(of_bias, bias.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("fused_bias_leakyrelu", TORCH_BOX(&fused_bias_leakyrelu));
  m.impl("fused_bias_leakyrelu_backward", TORCH_BOX(&fused_bias_leakyrelu_backward));
}

}  // namespace okulo
