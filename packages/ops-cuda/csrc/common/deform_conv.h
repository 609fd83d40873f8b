// Deformable convolution (https://arxiv.org/abs/1703.06211, https://arxiv.org/abs/1811.11168):
// its sizes, where it samples, and the four pixels around a sample.
#pragma once

#include <cmath>
#include <vector>

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

struct DeformConvSizes {
  int64_t batch, channels, height, width;
  int64_t out_channels, out_height, out_width;
  int64_t kernel_height, kernel_width;
  int64_t stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int64_t groups, deform_groups;

  OKULO_HOST_DEVICE int64_t taps() const { return kernel_height * kernel_width; }
  OKULO_HOST_DEVICE int64_t area() const { return out_height * out_width; }
  OKULO_HOST_DEVICE int64_t positions() const { return batch * area(); }
  OKULO_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
  OKULO_HOST_DEVICE int64_t deform_channels() const { return channels / deform_groups; }

  // Where an undisplaced tap samples; p counts the output positions of one image.
  OKULO_HOST_DEVICE int64_t tap_y(int64_t p, int64_t tap) const {
    return p / out_width * stride_y - padding_y + tap / kernel_width * dilation_y;
  }
  OKULO_HOST_DEVICE int64_t tap_x(int64_t p, int64_t tap) const {
    return p % out_width * stride_x - padding_x + tap % kernel_width * dilation_x;
  }
  // Of the vertical displacement in (N, deform_groups, taps, 2, out_height, out_width); the
  // horizontal one is area() further.
  OKULO_HOST_DEVICE int64_t offset_index(int64_t n, int64_t group, int64_t tap, int64_t p) const {
    return (((n * deform_groups + group) * taps() + tap) * 2) * area() + p;
  }
  // In (N, deform_groups, taps, out_height, out_width).
  OKULO_HOST_DEVICE int64_t mask_index(int64_t n, int64_t group, int64_t tap, int64_t p) const {
    return ((n * deform_groups + group) * taps() + tap) * area() + p;
  }
};

// The pixels (y0, x0), (y0, x1), (y1, x0), (y1, x1) around a point, as indices into the plane, -1
// outside of it; their bilinear weights, and the derivatives of these by y and by x.
template <typename A>
struct Corners {
  int64_t at[4];
  A weight[4], by_y[4], by_x[4];
};

template <typename A>
OKULO_HOST_DEVICE Corners<A> corners_around(A y, A x, int64_t height, int64_t width) {
  const bool inside = y > -1 && x > -1 && y < static_cast<A>(height) && x < static_cast<A>(width);
  const A floor_y = inside ? std::floor(y) : A(-2);  // NaN and infinity are outside, too
  const A floor_x = inside ? std::floor(x) : A(-2);
  const A share_y[2] = {inside ? floor_y + 1 - y : A(0), inside ? y - floor_y : A(0)};
  const A share_x[2] = {inside ? floor_x + 1 - x : A(0), inside ? x - floor_x : A(0)};
  Corners<A> corners;
  for (int k = 0; k < 4; ++k) {
    const int64_t row = static_cast<int64_t>(floor_y) + k / 2;
    const int64_t column = static_cast<int64_t>(floor_x) + k % 2;
    const bool exists = row >= 0 && row < height && column >= 0 && column < width;
    corners.at[k] = exists ? row * width + column : -1;
    corners.weight[k] = share_y[k / 2] * share_x[k % 2];
    corners.by_y[k] = k / 2 ? share_x[k % 2] : -share_x[k % 2];
    corners.by_x[k] = k % 2 ? share_y[k / 2] : -share_y[k / 2];
  }
  return corners;
}

using Pair = std::vector<int64_t>;  // (vertical, horizontal)

// Sizes of the operator's arguments, refused where a kernel would read outside of them.
inline DeformConvSizes deform_conv_sizes(const Tensor& input, const Tensor& offset,
                                         const std::optional<Tensor>& mask, const Tensor& weight,
                                         const std::optional<Tensor>& bias, const Pair& stride,
                                         const Pair& padding, const Pair& dilation, int64_t groups,
                                         int64_t deform_groups) {
  STD_TORCH_CHECK(input.dim() == 4 && offset.dim() == 4 && weight.dim() == 4,
                  "deform_conv2d takes input, offset and weight with 4 dimensions");
  STD_TORCH_CHECK(stride.size() == 2 && padding.size() == 2 && dilation.size() == 2,
                  "deform_conv2d takes pairs for stride, padding and dilation");
  STD_TORCH_CHECK(groups > 0 && deform_groups > 0 && input.size(1) > 0,
                  "deform_conv2d takes at least one channel and group");
  const DeformConvSizes size{
      input.size(0),  input.size(1),  input.size(2),  input.size(3), weight.size(0), offset.size(2),
      offset.size(3), weight.size(2), weight.size(3), stride[0],     stride[1],      padding[0],
      padding[1],     dilation[0],    dilation[1],    groups,        deform_groups};
  STD_TORCH_CHECK(size.channels == weight.size(1) * groups && size.out_channels % groups == 0 &&
                      size.channels % deform_groups == 0,
                  "deform_conv2d: channels of input and weight do not fit the groups");
  const int64_t samples = deform_groups * size.taps();
  STD_TORCH_CHECK(offset.size(0) == size.batch && offset.size(1) == 2 * samples,
                  "deform_conv2d: offset does not fit input and weight");
  STD_TORCH_CHECK(!mask || mask->numel() == samples * size.positions(),
                  "deform_conv2d: mask does not fit offset");
  STD_TORCH_CHECK(!bias || bias->numel() == size.out_channels,
                  "deform_conv2d: bias does not fit weight");
  return size;
}

}  // namespace okulo
