#include "common/psa_mask.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// n: entries of the maps
template <typename T>
__global__ void forward(int64_t n, PsaSizes s, const T* input, T* out) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t column = index % s.pixels(), row = index / s.pixels() % s.pixels();
    const int64_t target = s.collect ? row : column, position = s.collect ? column : row;
    const int64_t h = position / s.width, w = position % s.width;
    const int64_t i = target / s.width - h + s.half_height();
    const int64_t j = target % s.width - w + s.half_width();
    const bool inside = i >= 0 && i < s.mask_height && j >= 0 && j < s.mask_width;
    out[index] = inside ? input[s.in_masks(index / s.pixels() / s.pixels(), i, j, h, w)] : T(0);
  }
}

// n: entries of the masks
template <typename T>
__global__ void backward(int64_t n, PsaSizes s, const T* grad, T* result) {
  OKULO_CUDA_LOOP(index, n) {
    const int64_t w = index % s.width, h = index / s.width % s.height;
    const int64_t entry = index / s.pixels();
    const int64_t x = w + entry % s.mask_width - s.half_width();
    const int64_t y = h + entry / s.mask_width % s.mask_height - s.half_height();
    const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
    const int64_t image = entry / s.mask_width / s.mask_height;
    result[index] = inside ? grad[s.in_maps(image, y, x, h, w)] : T(0);
  }
}

Tensor psa_mask(const Tensor& input, int64_t mask_height, int64_t mask_width, bool collect) {
  const PsaSizes s(input, mask_height, mask_width, collect);
  const Tensor x = contiguous(input);
  const Tensor out = torch::stable::new_empty(x, {s.batch, s.pixels(), s.height, s.width});
  dispatch_floating(x, "psa_mask", [&](auto zero) {
    using T = decltype(zero);
    launch(out, out.numel(), forward<T>, s, x.const_data_ptr<T>(), out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor psa_mask_backward(const Tensor& grad, const Tensor& input, int64_t mask_height,
                         int64_t mask_width, bool collect) {
  const PsaSizes s(input, mask_height, mask_width, collect);
  const Tensor g = contiguous(grad);
  const Tensor result = torch::stable::new_empty(g, input.sizes());
  dispatch_floating(g, "psa_mask_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(result, result.numel(), backward<T>, s, g.const_data_ptr<T>(),
           result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("psa_mask", TORCH_BOX(&psa_mask));
  m.impl("psa_mask_backward", TORCH_BOX(&psa_mask_backward));
}

}  // namespace okulo
