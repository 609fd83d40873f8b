#include <tuple>

#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename T>
__global__ void forward(int64_t n, const T* input, const acc_t<T>* bias, int64_t channels,
                        int64_t length, acc_t<T> slope, acc_t<T> scale, T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const acc_t<T> x = static_cast<acc_t<T>>(input[i]) + bias[i / length % channels];
    result[i] = static_cast<T>((x > 0 ? x : x * slope) * scale);
  }
}

template <typename T>
__global__ void by_input(int64_t n, const T* grad, const T* input, const acc_t<T>* bias,
                         int64_t channels, int64_t length, acc_t<T> slope, acc_t<T> scale,
                         T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const acc_t<T> x = static_cast<acc_t<T>>(input[i]) + bias[i / length % channels];
    result[i] = static_cast<T>(static_cast<acc_t<T>>(grad[i]) * (x > 0 ? scale : slope * scale));
  }
}

// One block for each channel sums in a fixed order.
template <typename T>
__global__ void by_bias(const T* grad, const T* input, const acc_t<T>* bias, int64_t batch,
                        int64_t channels, int64_t length, acc_t<T> slope, acc_t<T> scale,
                        acc_t<T>* result) {
  __shared__ acc_t<T> sums[kThreads];
  for (int64_t c = blockIdx.x; c < channels; c += gridDim.x) {
    acc_t<T> sum = 0;
    for (int64_t k = threadIdx.x; k < batch * length; k += kThreads) {
      const int64_t i = (k / length * channels + c) * length + k % length;
      const acc_t<T> x = static_cast<acc_t<T>>(input[i]) + bias[c];
      sum += static_cast<acc_t<T>>(grad[i]) * (x > 0 ? scale : slope * scale);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == 0) result[c] = sums[0];
    __syncthreads();
  }
}

int64_t row_length(const Tensor& input, const Tensor& bias) {
  STD_TORCH_CHECK(input.dim() >= 2 && bias.numel() == input.size(1),
                  "fused_bias_leakyrelu: expected input (N, C, ...) and bias (C,)");
  int64_t length = 1;
  for (int64_t d = 2; d < input.dim(); ++d) length *= input.size(d);
  return length;
}

Tensor fused_bias_leakyrelu(const Tensor& input, const Tensor& bias, double slope, double scale) {
  const Tensor x = contiguous(input);
  const Tensor b = contiguous(torch::stable::to(bias, accumulate_type(x)));
  const int64_t length = row_length(x, b);
  const Tensor result = torch::stable::empty_like(x);
  dispatch_floating(x, "fused_bias_leakyrelu", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    launch(x, x.numel(), forward<T>, x.const_data_ptr<T>(), b.const_data_ptr<A>(), x.size(1),
           length, static_cast<A>(slope), static_cast<A>(scale), result.mutable_data_ptr<T>());
  });
  return result;
}

std::tuple<Tensor, Tensor> fused_bias_leakyrelu_backward(const Tensor& grad, const Tensor& input,
                                                         const Tensor& bias, double slope,
                                                         double scale) {
  const Tensor x = contiguous(input), g = contiguous(grad);
  const Tensor b = contiguous(torch::stable::to(bias, accumulate_type(x)));
  const int64_t length = row_length(x, b), channels = x.size(1);
  const Tensor result = torch::stable::empty_like(x);
  const Tensor of_bias = torch::stable::empty_like(b);
  dispatch_floating(x, "fused_bias_leakyrelu_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const A below = static_cast<A>(slope), factor = static_cast<A>(scale);
    launch(x, x.numel(), by_input<T>, g.const_data_ptr<T>(), x.const_data_ptr<T>(),
           b.const_data_ptr<A>(), channels, length, below, factor, result.mutable_data_ptr<T>());
    if (channels == 0) return;
    const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
    by_bias<T><<<blocks_for(channels * kThreads), kThreads, 0, current_stream(x)>>>(
        g.const_data_ptr<T>(), x.const_data_ptr<T>(), b.const_data_ptr<A>(), x.size(0), channels,
        length, below, factor, of_bias.mutable_data_ptr<A>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return {result, torch::stable::to(of_bias, bias.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("fused_bias_leakyrelu", TORCH_BOX(&fused_bias_leakyrelu));
  m.impl("fused_bias_leakyrelu_backward", TORCH_BOX(&fused_bias_leakyrelu_backward));
}

}  // namespace okulo
