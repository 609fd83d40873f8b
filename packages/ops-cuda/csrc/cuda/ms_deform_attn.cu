#include <cassert>

#include "common/ms_deform_attn.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int kWarp = 32;

// n: entries of the output; a thread sums the points of one channel.
template <typename T>
__global__ void forward(int64_t n, DeformableAttention<T> in, T* out) {
  using A = acc_t<T>;
  const int64_t points = in.levels * in.points;
  OKULO_CUDA_LOOP(i, n) {
    const int64_t channel = i % in.width;
    const int64_t query_head = i / in.width;
    const int64_t head = query_head % in.heads;
    const int64_t image = query_head / in.heads / in.queries;
    A sum = 0;
    for (int64_t p = query_head * points; p < (query_head + 1) * points; ++p) {
      assert(in.level_is_inside(p / in.points % in.levels));
      const Taps<A> taps = in.taps(p);
      A value = 0;
      for (int k = 0; k < 4; ++k) {
        if (taps.row[k] < 0) continue;
        const int64_t at = in.offset(image, taps.row[k], head) + channel;
        value += taps.weight[k] * static_cast<A>(in.value[at]);
      }
      sum += in.weights[p] * value;
    }
    out[i] = static_cast<T>(sum);
  }
}

template <typename A>
__device__ A sum_of_warp(A value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, step);
  }
  return value;
}

// n: points times kWarp; the lanes of a warp share the channels of one point. n and the number of
// threads are multiples of kWarp, so that a warp enters and leaves the loop as one.
template <typename T, typename A = acc_t<T>>
__global__ void backward(int64_t n, DeformableAttention<T> in, const T* grad, A* by_value,
                         A* by_location, A* by_weight) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t p = i / kWarp;
    const int64_t query_head = p / (in.levels * in.points);
    const int64_t head = query_head % in.heads;
    const int64_t image = query_head / in.heads / in.queries;
    assert(in.level_is_inside(p / in.points % in.levels));
    const Taps<A> taps = in.taps(p);
    A w = 0, x = 0, y = 0;
    for (int64_t d = i % kWarp; d < in.width; d += kWarp) {
      const A g = static_cast<A>(grad[query_head * in.width + d]);
      for (int k = 0; k < 4; ++k) {
        if (taps.row[k] < 0) continue;
        const int64_t at = in.offset(image, taps.row[k], head) + d;
        const A product = g * static_cast<A>(in.value[at]);
        w += taps.weight[k] * product;
        x += taps.weight_dx[k] * product;
        y += taps.weight_dy[k] * product;
        atomicAdd(by_value + at, in.weights[p] * taps.weight[k] * g);
      }
    }
    w = sum_of_warp(w);
    x = sum_of_warp(x);
    y = sum_of_warp(y);
    if (i % kWarp == 0) {
      by_weight[p] = w;
      by_location[2 * p] = in.weights[p] * x;
      by_location[2 * p + 1] = in.weights[p] * y;
    }
  }
}

Tensor ms_deform_attn(const Tensor& value, const Tensor& shapes, const Tensor& starts,
                      const Tensor& locations, const Tensor& weights) {
  const DeformableAttentionInputs inputs(value, shapes, starts, locations, weights);
  const Tensor out = inputs.empty_output();
  dispatch_floating(value, "ms_deform_attn", [&](auto zero) {
    using T = decltype(zero);
    launch(out, out.numel(), forward<T>, inputs.get<T>(), out.mutable_data_ptr<T>());
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward(const Tensor& grad, const Tensor& value,
                                                           const Tensor& shapes,
                                                           const Tensor& starts,
                                                           const Tensor& locations,
                                                           const Tensor& weights) {
  const DeformableAttentionInputs inputs(value, shapes, starts, locations, weights);
  const Tensor g = contiguous(grad);
  const Tensor by_value =
      torch::stable::new_zeros(inputs.value, value.sizes(), accumulate_type(value));
  const Tensor by_location = torch::stable::empty_like(inputs.locations);
  const Tensor by_weight = torch::stable::empty_like(inputs.weights);
  dispatch_floating(value, "ms_deform_attn_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    launch(value, by_weight.numel() * kWarp, backward<T>, inputs.get<T>(), g.const_data_ptr<T>(),
           by_value.mutable_data_ptr<A>(), by_location.mutable_data_ptr<A>(),
           by_weight.mutable_data_ptr<A>());
  });
  return {torch::stable::to(by_value, value.scalar_type()),
          torch::stable::to(by_location, locations.scalar_type()),
          torch::stable::to(by_weight, weights.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&ms_deform_attn));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&ms_deform_attn_backward));
}

}  // namespace okulo
