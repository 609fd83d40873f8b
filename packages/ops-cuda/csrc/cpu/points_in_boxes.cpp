#include "common/points_in_boxes.h"

#include <algorithm>
#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// body(point's place in the output, x, y, z, boxes of its cloud) for every point; frames are
// transposed so that the compiler tests several boxes at a time.
template <typename T, typename Body>
void for_each_point(const Tensor& points, const Tensor& frames, const Body& body) {
  using A = acc_t<T>;
  const Tensor p = contiguous(points);
  const Tensor f = contiguous(frames);
  const int64_t clouds = p.size(0), count = p.size(1), boxes = f.size(1);
  STD_TORCH_CHECK(f.size(0) == clouds && f.size(2) == kFrame && p.size(2) == 3,
                  "points_in_boxes: sizes do not fit");
  std::vector<A> turned(clouds * boxes * kFrame);
  const T* from = f.const_data_ptr<T>();
  for (int64_t b = 0; b < clouds; ++b) {
    for (int64_t i = 0; i < boxes * kFrame; ++i) {
      turned[b * boxes * kFrame + (i % kFrame) * boxes + i / kFrame] =
          static_cast<A>(from[b * boxes * kFrame + i]);
    }
  }
  const T* xyz = p.const_data_ptr<T>();
  parallel_rows(clouds * count, 4 * boxes, [&](int64_t i) {
    const T* at = xyz + 3 * i;
    body(i, static_cast<A>(at[0]), static_cast<A>(at[1]), static_cast<A>(at[2]),
         turned.data() + i / count * boxes * kFrame);
  });
}

Tensor points_in_boxes(const Tensor& points, const Tensor& frames) {
  const int64_t boxes = frames.size(1);
  const Tensor result =
      torch::stable::new_empty(points, {points.size(0), points.size(1), boxes}, ScalarType::Int);
  int32_t* out = result.mutable_data_ptr<int32_t>();
  dispatch_floating(points, "points_in_boxes", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    for_each_point<T>(points, frames, [=](int64_t i, A x, A y, A z, const A* frame) {
      int32_t* row = out + i * boxes;
      for (int64_t k = 0; k < boxes; ++k) row[k] = is_inside(x, y, z, frame + k, boxes);
    });
  });
  return result;
}

Tensor points_in_boxes_part(const Tensor& points, const Tensor& frames) {
  const int32_t boxes = frames.size(1);
  const Tensor result =
      torch::stable::new_empty(points, {points.size(0), points.size(1)}, ScalarType::Int);
  int32_t* out = result.mutable_data_ptr<int32_t>();
  dispatch_floating(points, "points_in_boxes_part", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    for_each_point<T>(points, frames, [=](int64_t i, A x, A y, A z, const A* frame) {
      int32_t first = boxes;
#pragma omp simd reduction(min : first)
      for (int32_t k = 0; k < boxes; ++k) {
        const int32_t found = is_inside(x, y, z, frame + k, boxes) ? k : boxes;
        first = std::min(first, found);
      }
      out[i] = first < boxes ? first : -1;
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("points_in_boxes", TORCH_BOX(&points_in_boxes));
  m.impl("points_in_boxes_part", TORCH_BOX(&points_in_boxes_part));
}

}  // namespace okulo
