#include "common/border_align.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

template <typename A>
struct Borders {
  const A* boxes;  // (N, K, 4)
  MapSize map;
  int64_t channels, count, pool_size;  // C, K

  // Of output i in (N, C, K, 4): its plane in (N, 4 * C, H, W), and points on its border.
  __device__ int64_t plane(int64_t i) const {
    const int64_t image = i / 4 / count / channels, channel = i / 4 / count % channels;
    return ((image * 4 + i % 4) * channels + channel) * map.height * map.width;
  }
  __device__ Point<A> point(int64_t i, int64_t step) const {
    const int64_t box = i / 4 / count / channels * count + i / 4 % count;
    return on_border(boxes + box * 4, i % 4, step, pool_size);
  }
};

template <typename T>
__global__ void forward(int64_t n, const T* input, Borders<acc_t<T>> borders, T* out,
                        int32_t* which) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    const T* plane = input + borders.plane(i);
    A best = 0;
    int32_t step = 0;
    for (int64_t k = 0; k <= borders.pool_size; ++k) {
      const Point<A> at = borders.point(i, k);
      A value = 0;
      visit_bilinear(at.y, at.x, borders.map, A(1), [&](int64_t pixel, A weight) {
        value += weight * static_cast<A>(plane[pixel]);
      });
      if (k == 0 || value > best) {
        best = value;
        step = static_cast<int32_t>(k);
      }
    }
    out[i] = static_cast<T>(best);
    which[i] = step;
  }
}

template <typename T>
__global__ void backward(int64_t n, const T* grad, const int32_t* which, Borders<acc_t<T>> borders,
                         acc_t<T>* sums) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    A* plane = sums + borders.plane(i);
    const A value = static_cast<A>(grad[i]);
    const Point<A> at = borders.point(i, which[i]);
    visit_bilinear(at.y, at.x, borders.map, A(1),
                   [&](int64_t pixel, A weight) { atomicAdd(plane + pixel, weight * value); });
  }
}

// boxes: contiguous, in the type the input is computed in.
template <typename A>
Borders<A> borders(const Tensor& input, const Tensor& boxes, int64_t pool_size) {
  return {boxes.const_data_ptr<A>(),
          {input.size(2), input.size(3)},
          input.size(1) / 4,
          boxes.size(1),
          pool_size};
}

std::tuple<Tensor, Tensor> border_align(const Tensor& input, const Tensor& boxes,
                                        int64_t pool_size) {
  check_border_align(input, boxes, pool_size);
  const Tensor x = contiguous(input);
  const Tensor b = contiguous(torch::stable::to(boxes, accumulate_type(x)));
  const Tensor out = torch::stable::new_empty(x, {x.size(0), x.size(1) / 4, b.size(1), 4});
  const Tensor step = torch::stable::new_empty(out, out.sizes(), ScalarType::Int);
  dispatch_floating(x, "border_align", [&](auto zero) {
    using T = decltype(zero);
    launch(x, out.numel(), forward<T>, x.const_data_ptr<T>(), borders<acc_t<T>>(x, b, pool_size),
           out.mutable_data_ptr<T>(), step.mutable_data_ptr<int32_t>());
  });
  return {out, step};
}

Tensor border_align_backward(const Tensor& grad, const Tensor& input, const Tensor& boxes,
                             int64_t pool_size, const Tensor& step) {
  check_border_align(input, boxes, pool_size);
  const Tensor g = contiguous(grad);
  const Tensor s = contiguous(step);
  const Tensor b = contiguous(torch::stable::to(boxes, accumulate_type(input)));
  const Tensor sums = torch::stable::new_zeros(input, input.sizes(), accumulate_type(input));
  dispatch_floating(g, "border_align_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(g, g.numel(), backward<T>, g.const_data_ptr<T>(), s.const_data_ptr<int32_t>(),
           borders<acc_t<T>>(input, b, pool_size), sums.mutable_data_ptr<acc_t<T>>());
  });
  return torch::stable::to(sums, input.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("border_align", TORCH_BOX(&border_align));
  m.impl("border_align_backward", TORCH_BOX(&border_align_backward));
}

}  // namespace okulo
