// Content-aware reassembly of features (https://arxiv.org/abs/1905.02188, Eq. 3): its sizes.
#pragma once

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// Cell (h, w) of the features makes the scale x scale outputs from (h * scale, w * scale). Tap
// (i, j) of the window around it reads cell (h + i - radius, w + j - radius), zero outside.
struct CarafeSizes {
  int64_t batch, channels, height, width, kernel, groups, scale;

  CarafeSizes(const Tensor& features, const Tensor& masks, int64_t kernel, int64_t groups,
              int64_t scale)
      : batch(features.size(0)),
        channels(features.size(1)),
        height(features.size(2)),
        width(features.size(3)),
        kernel(kernel),
        groups(groups),
        scale(scale) {
    STD_TORCH_CHECK(kernel > 0 && kernel % 2 == 1 && groups > 0 && channels % groups == 0 &&
                        scale > 0 && features.scalar_type() == masks.scalar_type() &&
                        masks.size(0) == batch && masks.size(1) == kernel * kernel * groups &&
                        masks.size(2) == height * scale && masks.size(3) == width * scale,
                    "carafe: sizes and dtypes of features and masks do not fit each other");
  }

  OKULO_HOST_DEVICE int64_t radius() const { return kernel / 2; }
  OKULO_HOST_DEVICE int64_t taps() const { return kernel * kernel; }
  OKULO_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
  OKULO_HOST_DEVICE int64_t out_height() const { return height * scale; }
  OKULO_HOST_DEVICE int64_t out_width() const { return width * scale; }
};

}  // namespace okulo
