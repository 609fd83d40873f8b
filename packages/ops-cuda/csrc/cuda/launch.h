// What every CUDA kernel needs: its device, its stream, its grid.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>
#include <cstdint>

#include "common/dispatch.h"

namespace okulo {

constexpr int kThreads = 256;

// A grid-stride loop with 64-bit indices: any n, whatever the limits of the grid.
#define OKULO_CUDA_LOOP(i, n)                                                            \
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < (n); \
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)

inline int blocks_for(int64_t n) {
  return static_cast<int>(std::min<int64_t>((n + kThreads - 1) / kThreads, 1 << 20));
}

inline cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Launches over n elements on the tensor's device and stream; nothing is launched for n = 0.
template <typename Kernel, typename... Args>
void launch(const Tensor& on, int64_t n, Kernel kernel, Args... args) {
  if (n == 0) return;
  const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
  kernel<<<blocks_for(n), kThreads, 0, current_stream(on)>>>(n, args...);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace okulo
