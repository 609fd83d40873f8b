#include "common/convex_giou.h"

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

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
    const T *points = p.const_data_ptr<T>(), *quads = q.const_data_ptr<T>();
    auto* out = giou.mutable_data_ptr<acc_t<T>>();
    parallel_rows(p.size(0), 1024, [=](int64_t i) {
      out[i] = static_cast<acc_t<T>>(ConvexGiou(points + 18 * i, quads + 8 * i).value());
    });
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
    const T *points = p.const_data_ptr<T>(), *quads = q.const_data_ptr<T>();
    const auto* from = g.const_data_ptr<acc_t<T>>();
    T *out1 = by_points.mutable_data_ptr<T>(), *out2 = by_quads.mutable_data_ptr<T>();
    parallel_rows(p.size(0), 4096, [=](int64_t i) {
      convex_giou_gradient_at(static_cast<double>(from[i]), points + 18 * i, quads + 8 * i,
                              out1 + 18 * i, out2 + 8 * i);
    });
  });
  return {by_points, by_quads};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("convex_giou", TORCH_BOX(&convex_giou));
  m.impl("convex_giou_backward", TORCH_BOX(&convex_giou_backward));
}

}  // namespace okulo
