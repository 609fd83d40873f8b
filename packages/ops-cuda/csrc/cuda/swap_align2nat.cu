#include "common/swap_align2nat.h"
#include "cuda/launch.h"

// Each thread gathers one entry of its result: nothing is added atomically.

namespace okulo {
namespace {

template <typename T>
__global__ void forward(int64_t n, SwapSizes s, const T* input, acc_t<T> pad, T* out) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(index, n) {
    const int64_t px = index % s.x.coarse(), row = index / s.x.coarse();
    const int64_t py = row % s.y.coarse(), plane = row / s.y.coarse();
    const int64_t u = plane % s.x.fine(), v = plane / s.x.fine() % s.y.fine();
    const int64_t image = plane / s.x.fine() / s.y.fine();
    A sum = pad;
    visit_sources<A>(s.y, v, py, [&](int64_t i, int64_t y, A of_row) {
      visit_sources<A>(s.x, u, px, [&](int64_t k, int64_t x, A share) {
        const A value = static_cast<A>(input[s.input_row(image, i, k, y) + x]);
        sum += of_row * share * (value - pad);
      });
    });
    out[index] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void backward(int64_t n, SwapSizes s, const T* grad, T* result) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(index, n) {
    const int64_t x = index % s.x.size, row = index / s.x.size;
    const int64_t y = row % s.y.size, plane = row / s.y.size;
    const int64_t k = plane % s.x.side, i = plane / s.x.side % s.y.side;
    const int64_t image = plane / s.x.side / s.y.side;
    A sum = 0;
    visit_readers<A>(s.y, i, y, [&](int64_t v, int64_t py, A of_row) {
      visit_readers<A>(s.x, k, x, [&](int64_t u, int64_t px, A share) {
        sum += of_row * share * static_cast<A>(grad[s.output_row(image, v, u, py) + px]);
      });
    });
    result[index] = static_cast<T>(sum);
  }
}

Tensor swap_align2nat(const Tensor& input, int64_t factor, double pad) {
  const SwapSizes s(input, factor);
  const Tensor x = contiguous(input);
  const Tensor out = natural_form(x, s);
  dispatch_floating(x, "swap_align2nat", [&](auto zero) {
    using T = decltype(zero);
    launch(x, out.numel(), forward<T>, s, x.const_data_ptr<T>(), static_cast<acc_t<T>>(pad),
           out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor swap_align2nat_backward(const Tensor& grad, const Tensor& input, int64_t factor, double) {
  const SwapSizes s(input, factor);
  const Tensor g = contiguous(grad);
  STD_TORCH_CHECK(g.numel() == s.batch * s.y.fine() * s.x.fine() * s.y.coarse() * s.x.coarse(),
                  "swap_align2nat: the gradient does not fit the input");
  const Tensor result = torch::stable::new_empty(g, input.sizes());
  dispatch_floating(g, "swap_align2nat_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(g, result.numel(), backward<T>, s, g.const_data_ptr<T>(), result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("swap_align2nat", TORCH_BOX(&swap_align2nat));
  m.impl("swap_align2nat_backward", TORCH_BOX(&swap_align2nat_backward));
}

}  // namespace okulo
