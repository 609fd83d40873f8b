// Only the windows of pixels that are wanted become columns, a block at a time.
#include "common/products.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

constexpr int64_t kBlockBytes = 16 << 20;

using Pair = std::vector<int64_t>;  // (vertical, horizontal)

struct Window {
  int64_t channels, height, width;  // input
  int64_t kernel_height, kernel_width;
  int64_t out_height, out_width;
  Pair padding, dilation;

  int64_t taps() const { return kernel_height * kernel_width; }
};

// The flat indices into (N, out_height, out_width) where the mask is positive.
template <typename T>
std::vector<int64_t> wanted(const Tensor& mask) {
  const T* values = mask.const_data_ptr<T>();
  std::vector<int64_t> result;
  for (int64_t i = 0; i < mask.numel(); ++i) {
    if (static_cast<acc_t<T>>(values[i]) > 0) result.push_back(i);
  }
  return result;
}

// What each tap reads for the wanted pixels, as (taps, count) indices into channel 0 of the input
// (N, C, H, W), -1 outside of the image.
std::vector<int64_t> sources(const Window& in, const int64_t* pixels, int64_t count) {
  std::vector<int64_t> result(in.taps() * count);
  parallel_rows(in.taps(), count, [&](int64_t tap) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t p = pixels[i] % (in.out_height * in.out_width);
      const int64_t image = pixels[i] / (in.out_height * in.out_width);
      const int64_t y = p / in.out_width - in.padding[0] + tap / in.kernel_width * in.dilation[0];
      const int64_t x = p % in.out_width - in.padding[1] + tap % in.kernel_width * in.dilation[1];
      const bool inside = y >= 0 && y < in.height && x >= 0 && x < in.width;
      result[tap * count + i] = inside ? (image * in.channels * in.height + y) * in.width + x : -1;
    }
  });
  return result;
}

template <typename A>
void convolve(const Window& in, const Tensor& input, const std::vector<int64_t>& pixels,
              const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& result) {
  const int64_t depth = in.taps() * in.channels, rows = weight.size(0);
  const int64_t area = in.out_height * in.out_width;
  const int64_t total = static_cast<int64_t>(pixels.size());
  const int64_t block = std::min(total, std::clamp<int64_t>(kBlockBytes / (8 * depth), 64, 4096));
  Tensor columns = torch::stable::new_empty(input, {depth, block});
  Tensor product = torch::stable::new_empty(input, {rows, block});
  const A* images = input.const_data_ptr<A>();
  const A* shift = data_or_null<A>(bias);
  const A* from = product.const_data_ptr<A>();
  A* column = columns.mutable_data_ptr<A>();
  A* out = result.mutable_data_ptr<A>();
  for (int64_t begin = 0; begin < total; begin += block) {
    const int64_t count = std::min(block, total - begin);
    const int64_t* at = pixels.data() + begin;
    const std::vector<int64_t> source = sources(in, at, count);
    parallel_rows(depth, count, [&](int64_t row) {
      const A* plane = images + row / in.taps() * in.height * in.width;
      const int64_t* from = source.data() + row % in.taps() * count;
      A* to = column + row * block;
      for (int64_t i = 0; i < count; ++i) to[i] = from[i] < 0 ? A(0) : plane[from[i]];
    });
    multiply(weight, torch::stable::narrow(columns, 1, 0, count),
             torch::stable::narrow(product, 1, 0, count));
    parallel_rows(rows, count, [&](int64_t c) {
      const A add = shift ? shift[c] : A(0);
      for (int64_t i = 0; i < count; ++i) {
        out[(at[i] / area * rows + c) * area + at[i] % area] = from[c * block + i] + add;
      }
    });
  }
}

Tensor masked_conv2d(const Tensor& input, const Tensor& mask, const Tensor& weight,
                     const std::optional<Tensor>& bias, const Pair& padding, const Pair& dilation) {
  STD_TORCH_CHECK(
      input.dim() == 4 && mask.dim() == 3 && weight.dim() == 4 && weight.size(1) == input.size(1) &&
          weight.size(1) * weight.size(2) * weight.size(3) > 0 && mask.size(0) == input.size(0) &&
          padding.size() == 2 && dilation.size() == 2 && (!bias || bias->numel() == weight.size(0)),
      "masked_conv2d: input, mask, weight and bias do not fit each other");
  const ScalarType type = accumulate_type(input);
  const Window window{input.size(1), input.size(2), input.size(3), weight.size(2), weight.size(3),
                      mask.size(1),  mask.size(2),  padding,       dilation};
  const Tensor kernels = torch::stable::flatten(as_contiguous(weight, type), 1, 3);
  const Tensor images = as_contiguous(input, type);
  const std::optional<Tensor> shift = as_contiguous(bias, type);
  const Tensor flags = contiguous(mask);
  std::vector<int64_t> pixels;
  dispatch_floating(flags, "masked_conv2d",
                    [&](auto zero) { pixels = wanted<decltype(zero)>(flags); });
  const Tensor result =
      torch::stable::new_zeros(images, {input.size(0), weight.size(0), mask.size(1), mask.size(2)});
  if (type == ScalarType::Double) {
    convolve<double>(window, images, pixels, kernels, shift, result);
  } else {
    convolve<float>(window, images, pixels, kernels, shift, result);
  }
  return torch::stable::to(result, input.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("masked_conv2d", TORCH_BOX(&masked_conv2d)); }

}  // namespace okulo
