#include "common/border_align.h"

#include "cpu/pooling.h"

namespace okulo {
namespace {

constexpr int64_t kBoxes = kTile / 4;  // a task samples all borders of that many boxes

// The four features about a point, and their weights; outside the map the weights are 0.
template <typename A>
struct Bilinear {
  int64_t pixel[4] = {0, 0, 0, 0};
  A weight[4] = {0, 0, 0, 0};

  Bilinear(Point<A> at, MapSize map) {
    int count = 0;
    visit_bilinear(at.y, at.x, map, A(1), [&](int64_t p, A w) {
      pixel[count] = p;
      weight[count++] = w;
    });
  }
};

// best, which: of each channel; rows of features are `stride` apart.
template <typename A>
void keep_larger(const A* features, int64_t stride, const Bilinear<A>& at, int64_t channels,
                 int32_t step, A* best, int32_t* which) {
  const A* p0 = features + at.pixel[0] * stride;
  const A* p1 = features + at.pixel[1] * stride;
  const A* p2 = features + at.pixel[2] * stride;
  const A* p3 = features + at.pixel[3] * stride;
  const A w0 = at.weight[0], w1 = at.weight[1], w2 = at.weight[2], w3 = at.weight[3];
#pragma omp simd
  for (int64_t c = 0; c < channels; ++c) {
    const A value = w0 * p0[c] + w1 * p1[c] + w2 * p2[c] + w3 * p3[c];
    const bool take = step == 0 || value > best[c];
    best[c] = take ? value : best[c];
    which[c] = take ? step : which[c];
  }
}

template <typename T>
void forward(const Tensor& input, const Tensor& boxes, int64_t pool_size, T* out, int32_t* step) {
  using A = acc_t<T>;
  const int64_t channels = input.size(1) / 4, count = boxes.size(1);
  const MapSize map{input.size(2), input.size(3)};
  const int64_t tiles = (count + kBoxes - 1) / kBoxes;
  const std::vector<A> features = channels_last<T>(input);
  const A* box = boxes.const_data_ptr<A>();
  parallel_rows(input.size(0) * tiles, kTile * channels * pool_size * 4, [&](int64_t task) {
    const int64_t image = task / tiles, first = task % tiles * kBoxes;
    const int64_t rows = std::min(kBoxes, count - first) * 4;
    const A* pixels = features.data() + image * map.height * map.width * 4 * channels;
    std::vector<A> best(rows * channels);
    std::vector<int32_t> which(rows * channels);
    for (int64_t row = 0; row < rows; ++row) {
      const A* of = box + (image * count + first + row / 4) * 4;
      for (int64_t i = 0; i <= pool_size; ++i) {
        const Bilinear<A> at(on_border(of, row % 4, i, pool_size), map);
        keep_larger(pixels + row % 4 * channels, 4 * channels, at, channels,
                    static_cast<int32_t>(i), best.data() + row * channels,
                    which.data() + row * channels);
      }
    }
    const int64_t start = (image * channels * count + first) * 4;
    transpose(best.data(), rows, channels, channels, out + start, count * 4);
    transpose(which.data(), rows, channels, channels, step + start, count * 4);
  });
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
    if (out.numel() == 0) return;
    forward<T>(x, b, pool_size, out.mutable_data_ptr<T>(), step.mutable_data_ptr<int32_t>());
  });
  return {out, step};
}

// A task owns the four planes of one channel.
template <typename T>
void backward(const Tensor& grad, const Tensor& boxes, const Tensor& step, int64_t pool_size,
              Tensor& result) {
  using A = acc_t<T>;
  const MapSize map{result.size(2), result.size(3)};
  const int64_t channels = grad.size(1), count = grad.size(2), pixels = map.height * map.width;
  const T* from = grad.const_data_ptr<T>();
  const int32_t* at = step.const_data_ptr<int32_t>();
  const A* box = boxes.const_data_ptr<A>();
  T* to = result.mutable_data_ptr<T>();
  parallel_rows(result.size(0) * channels, pixels * 4 + count * 64, [&](int64_t task) {
    const int64_t image = task / channels, c = task % channels;
    std::vector<A> sums(4 * pixels);
    for (int64_t i = 0; i < 4 * count; ++i) {
      const A value = static_cast<A>(from[task * count * 4 + i]);
      const Point<A> point = on_border(box + image * count * 4 + i / 4 * 4, i % 4,
                                       at[task * count * 4 + i], pool_size);
      A* plane = sums.data() + i % 4 * pixels;
      visit_bilinear(point.y, point.x, map, A(1),
                     [&](int64_t pixel, A weight) { plane[pixel] += weight * value; });
    }
    for (int64_t border = 0; border < 4; ++border) {
      const A* plane = sums.data() + border * pixels;
      T* out = to + ((image * 4 + border) * channels + c) * pixels;
      for (int64_t i = 0; i < pixels; ++i) out[i] = static_cast<T>(plane[i]);
    }
  });
}

Tensor border_align_backward(const Tensor& grad, const Tensor& input, const Tensor& boxes,
                             int64_t pool_size, const Tensor& step) {
  check_border_align(input, boxes, pool_size);
  const Tensor g = contiguous(grad);
  const Tensor s = contiguous(step);
  const Tensor b = contiguous(torch::stable::to(boxes, accumulate_type(input)));
  STD_TORCH_CHECK(g.numel() == s.numel() && g.numel() == input.size(0) * input.size(1) * b.size(1),
                  "border_align_backward: grad and step must be (N, C, K, 4)");
  Tensor result = torch::stable::new_empty(input, input.sizes());
  dispatch_floating(g, "border_align_backward",
                    [&](auto zero) { backward<decltype(zero)>(g, b, s, pool_size, result); });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("border_align", TORCH_BOX(&border_align));
  m.impl("border_align_backward", TORCH_BOX(&border_align_backward));
}

}  // namespace okulo
