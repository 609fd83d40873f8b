#include "common/convex_giou.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename T>
__global__ void forward(int64_t n, const T* points, const T* quads, acc_t<T>* out) {
  OKULO_CUDA_LOOP(i, n) {
    out[i] = static_cast<acc_t<T>>(ConvexGiou(points + 18 * i, quads + 8 * i).value());
  }
}

template <typename T>
__global__ void backward(int64_t n, const acc_t<T>* grad, const T* points, const T* quads, T* out1,
                         T* out2) {
  OKULO_CUDA_LOOP(i, n) {
    convex_giou_gradient_at(static_cast<double>(grad[i]), points + 18 * i, quads + 8 * i,
                            out1 + 18 * i, out2 + 8 * i);
  }
}

void check(const Tensor& pointsets, const Tensor& polygons) {
  STD_TORCH_CHECK(pointsets.size(1) == 18 && polygons.size(1) == 8 &&
                      pointsets.size(0) == polygons.size(0) &&
                      pointsets.scalar_type() == polygons.scalar_type(),
                  "convex_giou: pointsets (N, 18) and polygons (N, 8) are of one dtype");
}

Tensor convex_giou(const Tensor& pointsets, const Tensor& polygons) {
  const Tensor p = contiguous(pointsets), q = contiguous(polygons);
  check(p, q);
  const Tensor giou = torch::stable::new_empty(p, {p.size(0)}, accumulate_type(p));
  dispatch_floating(p, "convex_giou", [&](auto zero) {
    using T = decltype(zero);
    launch(p, p.size(0), forward<T>, p.const_data_ptr<T>(), q.const_data_ptr<T>(),
           giou.mutable_data_ptr<acc_t<T>>());
  });
  return giou;
}

std::tuple<Tensor, Tensor> convex_giou_backward(const Tensor& grad, const Tensor& pointsets,
                                                const Tensor& polygons) {
  const Tensor g = contiguous(grad), p = contiguous(pointsets), q = contiguous(polygons);
  check(p, q);
  STD_TORCH_CHECK(g.numel() == p.size(0) && g.scalar_type() == accumulate_type(p),
                  "convex_giou: the gradient is one number for each pair");
  const Tensor by_points = torch::stable::empty_like(p), by_quads = torch::stable::empty_like(q);
  dispatch_floating(p, "convex_giou_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(p, p.size(0), backward<T>, g.const_data_ptr<acc_t<T>>(), p.const_data_ptr<T>(),
           q.const_data_ptr<T>(), by_points.mutable_data_ptr<T>(), by_quads.mutable_data_ptr<T>());
  });
  return {by_points, by_quads};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("convex_giou", TORCH_BOX(&convex_giou));
  m.impl("convex_giou_backward", TORCH_BOX(&convex_giou_backward));
}

}  // namespace okulo
