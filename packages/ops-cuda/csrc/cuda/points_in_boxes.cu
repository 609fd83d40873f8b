#include "common/points_in_boxes.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename T>
struct Clouds {
  const T* xyz;     // (clouds, points, 3)
  const T* frames;  // (clouds, boxes, kFrame)
  int64_t points;
  int64_t boxes;

  __device__ bool inside(int64_t point, int64_t box) const {
    const T* at = xyz + 3 * point;
    const T* frame = frames + (point / points * boxes + box) * kFrame;
    using A = acc_t<T>;
    return is_inside(static_cast<A>(at[0]), static_cast<A>(at[1]), static_cast<A>(at[2]), frame, 1);
  }
};

template <typename T>
__global__ void all_boxes(int64_t n, Clouds<T> in, int32_t* out) {
  OKULO_CUDA_LOOP(i, n) out[i] = in.inside(i / in.boxes, i % in.boxes);
}

template <typename T>
__global__ void first_box(int64_t n, Clouds<T> in, int32_t* out) {
  OKULO_CUDA_LOOP(i, n) {
    int64_t k = 0;
    while (k < in.boxes && !in.inside(i, k)) ++k;
    out[i] = k < in.boxes ? static_cast<int32_t>(k) : -1;
  }
}

template <typename T>
Clouds<T> clouds(const Tensor& points, const Tensor& frames) {
  STD_TORCH_CHECK(
      frames.size(0) == points.size(0) && frames.size(2) == kFrame && points.size(2) == 3,
      "points_in_boxes: sizes do not fit");
  return {points.const_data_ptr<T>(), frames.const_data_ptr<T>(), points.size(1), frames.size(1)};
}

Tensor points_in_boxes(const Tensor& points, const Tensor& frames) {
  const Tensor p = contiguous(points);
  const Tensor f = contiguous(frames);
  const Tensor result =
      torch::stable::new_empty(p, {p.size(0), p.size(1), f.size(1)}, ScalarType::Int);
  dispatch_floating(p, "points_in_boxes", [&](auto zero) {
    using T = decltype(zero);
    launch(p, result.numel(), all_boxes<T>, clouds<T>(p, f), result.mutable_data_ptr<int32_t>());
  });
  return result;
}

Tensor points_in_boxes_part(const Tensor& points, const Tensor& frames) {
  const Tensor p = contiguous(points);
  const Tensor f = contiguous(frames);
  const Tensor result = torch::stable::new_empty(p, {p.size(0), p.size(1)}, ScalarType::Int);
  dispatch_floating(p, "points_in_boxes_part", [&](auto zero) {
    using T = decltype(zero);
    launch(p, result.numel(), first_box<T>, clouds<T>(p, f), result.mutable_data_ptr<int32_t>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("points_in_boxes", TORCH_BOX(&points_in_boxes));
  m.impl("points_in_boxes_part", TORCH_BOX(&points_in_boxes_part));
}

}  // namespace okulo
