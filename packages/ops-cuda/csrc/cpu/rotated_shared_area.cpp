#include "common/rotated_shared_area.h"

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

void check(const Tensor& a, const Tensor& b) {
  STD_TORCH_CHECK(a.numel() == b.numel() && a.size(1) == 5 && a.scalar_type() == b.scalar_type(),
                  "rotated_shared_area: boxes are (N, 5) and (N, 5) of one dtype");
}

Tensor rotated_shared_area(const Tensor& boxes1, const Tensor& boxes2) {
  const Tensor a = contiguous(boxes1), b = contiguous(boxes2);
  check(a, b);
  const Tensor area = torch::stable::new_empty(a, {a.size(0)}, accumulate_type(a));
  dispatch_floating(a, "rotated_shared_area", [&](auto zero) {
    using T = decltype(zero);
    const T *x = a.const_data_ptr<T>(), *y = b.const_data_ptr<T>();
    auto* out = area.mutable_data_ptr<acc_t<T>>();
    parallel_rows(a.size(0), 256, [=](int64_t i) {
      out[i] = static_cast<acc_t<T>>(shared_area_at(x + 5 * i, y + 5 * i));
    });
  });
  return area;
}

std::tuple<Tensor, Tensor> rotated_shared_area_backward(const Tensor& grad, const Tensor& boxes1,
                                                        const Tensor& boxes2) {
  const Tensor g = contiguous(grad), a = contiguous(boxes1), b = contiguous(boxes2);
  check(a, b);
  STD_TORCH_CHECK(g.numel() == a.size(0) && g.scalar_type() == accumulate_type(a),
                  "rotated_shared_area: the gradient is one number for each pair");
  const Tensor by1 = torch::stable::empty_like(a), by2 = torch::stable::empty_like(b);
  dispatch_floating(a, "rotated_shared_area_backward", [&](auto zero) {
    using T = decltype(zero);
    const T *x = a.const_data_ptr<T>(), *y = b.const_data_ptr<T>();
    const auto* from = g.const_data_ptr<acc_t<T>>();
    T *out1 = by1.mutable_data_ptr<T>(), *out2 = by2.mutable_data_ptr<T>();
    parallel_rows(a.size(0), 2048, [=](int64_t i) {
      const int64_t k = 5 * i;
      shared_area_gradient_at(static_cast<double>(from[i]), x + k, y + k, out1 + k, out2 + k);
    });
  });
  return {by1, by2};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("rotated_shared_area", TORCH_BOX(&rotated_shared_area));
  m.impl("rotated_shared_area_backward", TORCH_BOX(&rotated_shared_area_backward));
}

}  // namespace okulo
