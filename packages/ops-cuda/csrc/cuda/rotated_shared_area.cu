#include "common/rotated_shared_area.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename T>
__global__ void forward(int64_t n, const T* boxes1, const T* boxes2, acc_t<T>* out) {
  OKULO_CUDA_LOOP(i, n) {
    out[i] = static_cast<acc_t<T>>(shared_area_at(boxes1 + 5 * i, boxes2 + 5 * i));
  }
}

template <typename T>
__global__ void backward(int64_t n, const acc_t<T>* grad, const T* boxes1, const T* boxes2, T* out1,
                         T* out2) {
  OKULO_CUDA_LOOP(i, n) {
    shared_area_gradient_at(static_cast<double>(grad[i]), boxes1 + 5 * i, boxes2 + 5 * i,
                            out1 + 5 * i, out2 + 5 * i);
  }
}

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
    launch(a, a.size(0), forward<T>, a.const_data_ptr<T>(), b.const_data_ptr<T>(),
           area.mutable_data_ptr<acc_t<T>>());
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
    launch(a, a.size(0), backward<T>, g.const_data_ptr<acc_t<T>>(), a.const_data_ptr<T>(),
           b.const_data_ptr<T>(), by1.mutable_data_ptr<T>(), by2.mutable_data_ptr<T>());
  });
  return {by1, by2};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("rotated_shared_area", TORCH_BOX(&rotated_shared_area));
  m.impl("rotated_shared_area_backward", TORCH_BOX(&rotated_shared_area_backward));
}

}  // namespace okulo
