// The windows of the wanted pixels are gathered into columns, a block at a time, and multiplied by
// PyTorch's matrix product in the dtype of the input.
#include <array>
#include <vector>

#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int64_t kBlockBytes = 256 << 20;

using Pair = std::vector<int64_t>;  // (vertical, horizontal)

struct Window {
  int64_t channels, height, width;  // input
  int64_t kernel_height, kernel_width;
  int64_t out_height, out_width;
  int64_t padding_y, padding_x, dilation_y, dilation_x;

  __host__ __device__ int64_t taps() const { return kernel_height * kernel_width; }
  __host__ __device__ int64_t area() const { return out_height * out_width; }

  // What a tap reads for an output pixel of (N, out_height, out_width): an index into channel 0 of
  // the input, -1 outside of the image.
  __device__ int64_t source(int64_t tap, int64_t pixel) const {
    const int64_t p = pixel % area(), image = pixel / area();
    const int64_t y = p / out_width - padding_y + tap / kernel_width * dilation_y;
    const int64_t x = p % out_width - padding_x + tap % kernel_width * dilation_x;
    const bool inside = y >= 0 && y < height && x >= 0 && x < width;
    return inside ? (image * channels * height + y) * width + x : -1;
  }
};

template <typename T>
__global__ void flag(int64_t n, const T* mask, bool* wanted) {
  OKULO_CUDA_LOOP(i, n) wanted[i] = static_cast<acc_t<T>>(mask[i]) > 0;
}

// Columns are (channels, taps, count).
template <typename T>
__global__ void gather(int64_t n, Window in, int64_t count, const int64_t* pixels, const T* input,
                       T* columns) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t row = i / count;
    const int64_t from = in.source(row % in.taps(), pixels[i % count]);
    const int64_t plane = row / in.taps() * in.height * in.width;
    columns[i] = from < 0 ? T(0) : input[plane + from];
  }
}

// product: (rows, count); out: (N, rows, area).
template <typename T>
__global__ void spread(int64_t n, int64_t rows, int64_t area, int64_t count, const int64_t* pixels,
                       const T* product, const T* bias, T* out) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t row = i / count, pixel = pixels[i % count];
    const acc_t<T> shift = bias ? static_cast<acc_t<T>>(bias[row]) : acc_t<T>(0);
    out[(pixel / area * rows + row) * area + pixel % area] =
        static_cast<T>(static_cast<acc_t<T>>(product[i]) + shift);
  }
}

// The flat indices where the mask is positive; how many there are is known once the GPU is done.
Tensor wanted(const Tensor& mask) {
  const Tensor flags = torch::stable::new_empty(mask, {mask.numel()}, ScalarType::Bool);
  dispatch_floating(mask, "masked_conv2d", [&](auto zero) {
    using T = decltype(zero);
    launch(mask, mask.numel(), flag<T>, mask.const_data_ptr<T>(), flags.mutable_data_ptr<bool>());
  });
  std::array<StableIValue, 1> stack{torch::stable::detail::from(flags)};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::nonzero", "", stack.data(), TORCH_ABI_VERSION));
  return contiguous(torch::stable::detail::to<Tensor>(stack[0]));
}

template <typename T>
void convolve(const Window& in, const Tensor& input, const Tensor& pixels, const Tensor& weight,
              const std::optional<Tensor>& bias, const Tensor& result) {
  const int64_t depth = in.channels * in.taps(), rows = weight.size(0), total = pixels.numel();
  const int64_t block =
      std::max<int64_t>(1, kBlockBytes / (sizeof(T) * std::max<int64_t>(1, depth)));
  for (int64_t begin = 0; begin < total; begin += block) {
    const int64_t count = std::min(block, total - begin);
    const int64_t* at = pixels.const_data_ptr<int64_t>() + begin;
    const int64_t shape[] = {depth, count};
    const Tensor columns = torch::stable::new_empty(input, shape);
    launch(input, depth * count, gather<T>, in, count, at, input.const_data_ptr<T>(),
           columns.mutable_data_ptr<T>());
    const Tensor product = contiguous(torch::stable::matmul(weight, columns));
    launch(input, rows * count, spread<T>, rows, in.area(), count, at, product.const_data_ptr<T>(),
           data_or_null<T>(bias), result.mutable_data_ptr<T>());
  }
}

Tensor as_contiguous(const Tensor& tensor, ScalarType type) {
  return contiguous(torch::stable::to(tensor, type));
}

Tensor masked_conv2d(const Tensor& input, const Tensor& mask, const Tensor& weight,
                     const std::optional<Tensor>& bias, const Pair& padding, const Pair& dilation) {
  STD_TORCH_CHECK(input.dim() == 4 && mask.dim() == 3 && weight.dim() == 4 &&
                      weight.size(1) == input.size(1) && mask.size(0) == input.size(0) &&
                      padding.size() == 2 && dilation.size() == 2 &&
                      (!bias || bias->numel() == weight.size(0)),
                  "masked_conv2d: input, mask, weight and bias do not fit each other");
  const ScalarType type = input.scalar_type();
  const Window window{input.size(1),  input.size(2), input.size(3), weight.size(2),
                      weight.size(3), mask.size(1),  mask.size(2),  padding[0],
                      padding[1],     dilation[0],   dilation[1]};
  const Tensor x = contiguous(input);
  const Tensor kernels = torch::stable::flatten(as_contiguous(weight, type), 1, 3);
  const std::optional<Tensor> shift =
      bias ? std::optional<Tensor>(as_contiguous(*bias, type)) : std::nullopt;
  const int64_t shape[] = {x.size(0), weight.size(0), mask.size(1), mask.size(2)};
  const Tensor result = torch::stable::new_zeros(x, shape);
  const Tensor pixels = wanted(contiguous(mask));
  dispatch_floating(x, "masked_conv2d", [&](auto zero) {
    convolve<decltype(zero)>(window, x, pixels, kernels, shift, result);
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("masked_conv2d", TORCH_BOX(&masked_conv2d)); }

}  // namespace okulo
