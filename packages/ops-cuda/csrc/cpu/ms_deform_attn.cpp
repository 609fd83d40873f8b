#include "common/ms_deform_attn.h"

#include <vector>

#include "cpu/parallel.h"

namespace okulo {
namespace {

template <typename T>
void check_levels(const DeformableAttention<T>& in) {
  for (int64_t level = 0; level < in.levels; ++level) {
    STD_TORCH_CHECK(in.level_is_inside(level), "ms_deform_attn: level ", level, " of size ",
                    in.shapes[2 * level], " x ", in.shapes[2 * level + 1], " from cell ",
                    in.starts[level], " does not fit in a value of ", in.cells, " cells");
  }
}

// The channels of four cells; cells outside are zero.
template <typename T>
struct Rows {
  const T* at[4];

  Rows(const DeformableAttention<T>& in, const Taps<acc_t<T>>& taps, int64_t image, int64_t head,
       const T* zeros) {
    for (int k = 0; k < 4; ++k) {
      at[k] = taps.row[k] < 0 ? zeros : in.value + in.offset(image, taps.row[k], head);
    }
  }
};

// sum += factor * (the bilinear value of the point)
template <typename T>
void add_value(const Rows<T>& rows, const Taps<acc_t<T>>& taps, acc_t<T> factor, int64_t width,
               acc_t<T>* __restrict sum) {
  using A = acc_t<T>;
  const A w0 = factor * taps.weight[0], w1 = factor * taps.weight[1];
  const A w2 = factor * taps.weight[2], w3 = factor * taps.weight[3];
  const T *r0 = rows.at[0], *r1 = rows.at[1], *r2 = rows.at[2], *r3 = rows.at[3];
#pragma omp simd
  for (int64_t d = 0; d < width; ++d) {
    sum[d] += w0 * A(r0[d]) + w1 * A(r1[d]) + w2 * A(r2[d]) + w3 * A(r3[d]);
  }
}

template <typename T>
void forward(const DeformableAttention<T>& in, T* out) {
  using A = acc_t<T>;
  const std::vector<T> zeros(in.width, T(0));
  const int64_t points = in.points_per_head();
  parallel_rows(in.batch * in.queries, in.heads * points * in.width, [&](int64_t query) {
    std::vector<A> sum(in.width);
    const int64_t image = query / in.queries;
    for (int64_t head = 0; head < in.heads; ++head) {
      std::fill(sum.begin(), sum.end(), A(0));
      const int64_t first = (query * in.heads + head) * points;
      for (int64_t i = first; i < first + points; ++i) {
        const Taps<A> taps = in.taps(i);
        add_value(Rows<T>(in, taps, image, head, zeros.data()), taps, in.weights[i], in.width,
                  sum.data());
      }
      T* to = out + (query * in.heads + head) * in.width;
      for (int64_t d = 0; d < in.width; ++d) to[d] = static_cast<T>(sum[d]);
    }
  });
}

// Sum of the products of a cell's channels with the gradient of the output.
template <typename T>
acc_t<T> dot(const T* __restrict row, const acc_t<T>* __restrict grad, int64_t width) {
  acc_t<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < width; ++d) sum += static_cast<acc_t<T>>(row[d]) * grad[d];
  return sum;
}

template <typename A>
struct Gradients {
  A* value;
  A* locations;
  A* weights;
};

// Adds what one point contributes. grad: of the output of its query and head.
template <typename T, typename A = acc_t<T>>
void backward_of_point(const DeformableAttention<T>& in, int64_t image, int64_t head, int64_t point,
                       const A* grad, const Gradients<A>& result) {
  const Taps<A> taps = in.taps(point);
  A by_weight = 0, by_x = 0, by_y = 0;
  for (int k = 0; k < 4; ++k) {
    if (taps.row[k] < 0) continue;
    const int64_t offset = in.offset(image, taps.row[k], head);
    const A factor = in.weights[point] * taps.weight[k];
    A* __restrict to = result.value + offset;
    for (int64_t d = 0; d < in.width; ++d) to[d] += factor * grad[d];
    const A product = dot<T>(in.value + offset, grad, in.width);
    by_weight += taps.weight[k] * product;
    by_x += taps.weight_dx[k] * product;
    by_y += taps.weight_dy[k] * product;
  }
  result.weights[point] = by_weight;
  result.locations[2 * point] = in.weights[point] * by_x;
  result.locations[2 * point + 1] = in.weights[point] * by_y;
}

// A thread has a head of an image for itself: it alone adds to that head's channels.
template <typename T, typename A = acc_t<T>>
void backward(const DeformableAttention<T>& in, const T* grad, const Gradients<A>& result) {
  const int64_t points = in.points_per_head();
  const int64_t work = in.queries * points * in.width;
  parallel_rows(in.batch * in.heads, work, [&](int64_t task) {
    std::vector<A> row(in.width);
    const int64_t image = task / in.heads, head = task % in.heads;
    for (int64_t query = image * in.queries; query < (image + 1) * in.queries; ++query) {
      const int64_t at = query * in.heads + head;
      for (int64_t d = 0; d < in.width; ++d) row[d] = static_cast<A>(grad[at * in.width + d]);
      for (int64_t i = at * points; i < (at + 1) * points; ++i) {
        backward_of_point<T>(in, image, head, i, row.data(), result);
      }
    }
  });
}

Tensor ms_deform_attn(const Tensor& value, const Tensor& shapes, const Tensor& starts,
                      const Tensor& locations, const Tensor& weights) {
  const DeformableAttentionInputs inputs(value, shapes, starts, locations, weights);
  const Tensor out = inputs.empty_output();
  dispatch_floating(value, "ms_deform_attn", [&](auto zero) {
    using T = decltype(zero);
    const auto in = inputs.get<T>();
    check_levels(in);
    forward<T>(in, out.mutable_data_ptr<T>());
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
  check_gradient(g, value.size(0) * locations.size(1) * value.size(2) * value.size(3));
  const Tensor by_value =
      torch::stable::new_zeros(inputs.value, value.sizes(), accumulate_type(value));
  const Tensor by_location = torch::stable::empty_like(inputs.locations);
  const Tensor by_weight = torch::stable::empty_like(inputs.weights);
  dispatch_floating(value, "ms_deform_attn_backward", [&](auto zero) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const auto in = inputs.get<T>();
    check_levels(in);
    backward<T>(in, g.const_data_ptr<T>(),
                {by_value.mutable_data_ptr<A>(), by_location.mutable_data_ptr<A>(),
                 by_weight.mutable_data_ptr<A>()});
  });
  return {torch::stable::to(by_value, value.scalar_type()),
          torch::stable::to(by_location, locations.scalar_type()),
          torch::stable::to(by_weight, weights.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&ms_deform_attn));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&ms_deform_attn_backward));
}

}  // namespace okulo
