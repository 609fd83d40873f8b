// Cost volume of two feature maps (https://arxiv.org/abs/1504.06852, Eq. 1): its sizes and windows.
#pragma once

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// Inputs (batch, channels, height, width), output (batch, shifts, out_height, out_width).
struct CorrelationSizes {
  int64_t batch, channels, height, width, out_height, out_width;
  int64_t kernel, reach, stride, padding, dilation, patch_dilation;

  CorrelationSizes(const Tensor& a, const Tensor& b, int64_t kernel, int64_t reach, int64_t stride,
                   int64_t padding, int64_t dilation, int64_t patch_dilation)
      : batch(a.size(0)),
        channels(a.size(1)),
        height(a.size(2)),
        width(a.size(3)),
        kernel(kernel),
        reach(reach),
        stride(stride),
        padding(padding),
        dilation(dilation),
        patch_dilation(patch_dilation) {
    STD_TORCH_CHECK(a.dim() == 4 && b.dim() == 4 && b.size(0) == batch && b.size(1) == channels &&
                        b.size(2) == height && b.size(3) == width,
                    "correlation takes two inputs of one shape (N, C, H, W)");
    STD_TORCH_CHECK(kernel > 0 && reach >= 0 && stride > 0, "correlation: bad kernel or stride");
    out_height = out_size(height);
    out_width = out_size(width);
  }

  int64_t out_size(int64_t size) const {
    return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
  }
  void check_gradient(const Tensor& grad) const {
    STD_TORCH_CHECK(grad.numel() == batch * shifts() * out_height * out_width,
                    "correlation: the gradient does not fit the inputs");
  }

  OKULO_HOST_DEVICE int64_t side() const { return 2 * reach + 1; }
  OKULO_HOST_DEVICE int64_t shifts() const { return side() * side(); }
  OKULO_HOST_DEVICE bool inside(int64_t y, int64_t x) const {
    return y >= 0 && y < height && x >= 0 && x < width;
  }
  OKULO_HOST_DEVICE int64_t output(int64_t n, int64_t shift, int64_t y, int64_t x) const {
    return ((n * shifts() + shift) * out_height + y) * out_width + x;
  }
  OKULO_HOST_DEVICE int64_t shift_y(int64_t shift) const {
    return (shift / side() - reach) * patch_dilation;
  }
  OKULO_HOST_DEVICE int64_t shift_x(int64_t shift) const {
    return (shift % side() - reach) * patch_dilation;
  }

  // The gradient of the product of the first input's pixel (y, x) with the second's, shifted: the
  // sum over the windows that contain the pixel.
  template <typename T>
  OKULO_HOST_DEVICE acc_t<T> slope_at(const T* grad, int64_t n, int64_t shift, int64_t y,
                                      int64_t x) const {
    acc_t<T> sum = 0;
    for (int64_t tap = 0; tap < kernel * kernel; ++tap) {
      const int64_t from_y = y + padding - tap / kernel * dilation;
      const int64_t from_x = x + padding - tap % kernel * dilation;
      if (from_y < 0 || from_x < 0 || from_y % stride || from_x % stride) continue;
      const int64_t oy = from_y / stride, ox = from_x / stride;
      if (oy < out_height && ox < out_width) {
        sum += static_cast<acc_t<T>>(grad[output(n, shift, oy, ox)]);
      }
    }
    return sum;
  }
};

}  // namespace okulo
