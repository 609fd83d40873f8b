// Point-wise spatial attention (PSANet, ECCV 2018): masks around positions moved to the map.
#pragma once

#include "common/dispatch.h"
#include "common/macros.h"

namespace okulo {

// Position (h, w) has a mask over its surroundings; entry (i, j) of it belongs to the target
// (h + i - half_height, w + j - half_width). Masks are (batch, mask_height * mask_width, height,
// width); maps (batch, targets, positions) to collect and (batch, positions, targets) to
// distribute.
struct PsaSizes {
  int64_t batch, height, width, mask_height, mask_width;
  bool collect;

  PsaSizes(const Tensor& input, int64_t mask_height, int64_t mask_width, bool collect)
      : batch(input.size(0)),
        height(input.size(2)),
        width(input.size(3)),
        mask_height(mask_height),
        mask_width(mask_width),
        collect(collect) {
    STD_TORCH_CHECK(mask_height > 0 && mask_width > 0 && input.size(1) == mask_height * mask_width,
                    "psa_mask: the channels of the input are not the entries of a mask");
  }

  OKULO_HOST_DEVICE int64_t half_height() const { return (mask_height - 1) / 2; }
  OKULO_HOST_DEVICE int64_t half_width() const { return (mask_width - 1) / 2; }
  OKULO_HOST_DEVICE int64_t pixels() const { return height * width; }

  // Where entry (i, j) of the mask of position (h, w) is.
  OKULO_HOST_DEVICE int64_t in_masks(int64_t n, int64_t i, int64_t j, int64_t h, int64_t w) const {
    return ((n * mask_height + i) * mask_width + j) * pixels() + h * width + w;
  }

  // Where target (y, x) of position (h, w) is.
  OKULO_HOST_DEVICE int64_t in_maps(int64_t n, int64_t y, int64_t x, int64_t h, int64_t w) const {
    const int64_t target = y * width + x, position = h * width + w;
    const int64_t row = collect ? target : position;
    return (n * pixels() + row) * pixels() + (collect ? position : target);
  }
};

}  // namespace okulo
