// ROIAlign by the mean of bilinear samples, over one map or the levels of a pyramid: one thread for
// each bin and channel.
#include <vector>

#include "common/roi_align.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int kMaxLevels = 16;

// M: element of the maps, or of their accumulated gradient.
template <typename A, typename M>
struct Pyramid {
  M* map[kMaxLevels];
  int64_t height[kMaxLevels];
  int64_t width[kMaxLevels];
  A scale[kMaxLevels];
  int64_t count;
  int64_t images;
  int64_t channels;
};

template <typename A>
struct Boxes {
  const A* roi;           // (K, 5)
  const int64_t* levels;  // (K,) or null: all 0
  int64_t height;
  int64_t width;
  int64_t ratio;
  bool aligned;
};

// One bin of one channel: its plane of the map and its samples.
template <typename A, typename M>
struct Bin {
  M* plane;  // null for a box of no image or level
  int64_t rows;
  int64_t columns;
  RoiAxis<A> y;
  RoiAxis<A> x;
  int64_t i;
  int64_t j;

  // n: index into the output, (K, C, height, width).
  __device__ Bin(int64_t n, const Pyramid<A, M>& maps, const Boxes<A>& boxes) : plane(nullptr) {
    j = n % boxes.width;
    i = n / boxes.width % boxes.height;
    const int64_t channel = n / (boxes.width * boxes.height) % maps.channels;
    const int64_t k = n / (boxes.width * boxes.height * maps.channels);
    const A* roi = boxes.roi + 5 * k;
    const int64_t level = boxes.levels ? boxes.levels[k] : 0;
    if (level < 0 || level >= maps.count) return;
    if (!(roi[0] >= 0 && roi[0] < static_cast<A>(maps.images))) return;
    rows = maps.height[level];
    columns = maps.width[level];
    const int64_t image = static_cast<int64_t>(roi[0]);
    plane = maps.map[level] + (image * maps.channels + channel) * rows * columns;
    y = roi_axis<A>(roi[2], roi[4], maps.scale[level], boxes.height, boxes.ratio, boxes.aligned);
    x = roi_axis<A>(roi[1], roi[3], maps.scale[level], boxes.width, boxes.ratio, boxes.aligned);
  }

  // Calls f(cell of the plane, weight) for every cell that a sample reads.
  template <typename F>
  __device__ void for_each_tap(const F& f) const {
    if (plane == nullptr) return;
    const A share = 1 / (static_cast<A>(y.count) * static_cast<A>(x.count));
    const int64_t last_y = y.last(i, rows);
    const int64_t last_x = x.last(j, columns);
    for (int64_t a = y.first(i); a < last_y; ++a) {
      const RoiTaps<A> v = roi_taps(y.position(i, a), rows);
      if (!v.inside) continue;
      for (int64_t b = x.first(j); b < last_x; ++b) {
        const RoiTaps<A> h = roi_taps(x.position(j, b), columns);
        if (!h.inside) continue;
        f(v.low * columns + h.low, v.low_weight * h.low_weight * share);
        f(v.low * columns + h.high, v.low_weight * h.high_weight * share);
        f(v.high * columns + h.low, v.high_weight * h.low_weight * share);
        f(v.high * columns + h.high, v.high_weight * h.high_weight * share);
      }
    }
  }
};

template <typename T>
__global__ void pool(int64_t n, Pyramid<acc_t<T>, const T> maps, Boxes<acc_t<T>> boxes, T* out) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(index, n) {
    const Bin<A, const T> bin(index, maps, boxes);
    A sum = 0;
    bin.for_each_tap(
        [&](int64_t cell, A weight) { sum += weight * static_cast<A>(bin.plane[cell]); });
    out[index] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void spread(int64_t n, Pyramid<acc_t<T>, acc_t<T>> maps, Boxes<acc_t<T>> boxes,
                       const T* grad) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(index, n) {
    const Bin<A, A> bin(index, maps, boxes);
    const A g = static_cast<A>(grad[index]);
    bin.for_each_tap([&](int64_t cell, A weight) { atomicAdd(bin.plane + cell, weight * g); });
  }
}

template <typename A, typename M>
Pyramid<A, M> pyramid(const std::vector<Tensor>& maps, const std::vector<double>& scales) {
  STD_TORCH_CHECK(maps.size() <= kMaxLevels, "at most ", kMaxLevels, " levels, got ", maps.size());
  Pyramid<A, M> result{};
  result.count = static_cast<int64_t>(maps.size());
  result.images = maps[0].size(0);
  result.channels = maps[0].size(1);
  for (size_t i = 0; i < maps.size(); ++i) {
    STD_TORCH_CHECK(maps[i].scalar_type() == maps[0].scalar_type() &&
                        maps[i].size(0) == maps[0].size(0) && maps[i].size(1) == maps[0].size(1),
                    "features must agree in images, channels and dtype");
    if constexpr (std::is_const_v<M>)
      result.map[i] = maps[i].const_data_ptr<std::remove_const_t<M>>();
    else
      result.map[i] = maps[i].mutable_data_ptr<M>();
    result.height[i] = maps[i].size(2);
    result.width[i] = maps[i].size(3);
    result.scale[i] = static_cast<A>(scales[i]);
  }
  return result;
}

struct Settings {
  int64_t height;
  int64_t width;
  int64_t ratio;
  bool aligned;
};

template <typename A>
Boxes<A> boxes_of(const Tensor& rois, const Tensor* levels, const Settings& set) {
  return {rois.const_data_ptr<A>(),
          levels ? levels->const_data_ptr<int64_t>() : nullptr,
          set.height,
          set.width,
          set.ratio,
          set.aligned};
}

Tensor accumulate_rois(const Tensor& rois, const Tensor& input) {
  STD_TORCH_CHECK(rois.dim() == 2 && rois.size(1) == 5, "boxes must be (K, 5)");
  return contiguous(torch::stable::to(rois, accumulate_type(input)));
}

Tensor forward(const std::vector<Tensor>& features, const Tensor& rois, const Tensor* levels,
               const std::vector<double>& scales, const Settings& set) {
  std::vector<Tensor> maps;
  for (const Tensor& feature : features) maps.push_back(contiguous(feature));
  const Tensor r = accumulate_rois(rois, maps[0]);
  const Tensor pooled =
      torch::stable::new_empty(maps[0], {r.size(0), maps[0].size(1), set.height, set.width});
  dispatch_floating(maps[0], "roi_align", [&](auto zero) {
    using T = decltype(zero);
    launch(pooled, pooled.numel(), pool<T>, pyramid<acc_t<T>, const T>(maps, scales),
           boxes_of<acc_t<T>>(r, levels, set), pooled.mutable_data_ptr<T>());
  });
  return pooled;
}

std::vector<Tensor> backward(const Tensor& grad, const std::vector<Tensor>& features,
                             const Tensor& rois, const Tensor* levels,
                             const std::vector<double>& scales, const Settings& set) {
  const Tensor g = contiguous(grad);
  const Tensor r = accumulate_rois(rois, features[0]);
  std::vector<Tensor> sums;
  for (const Tensor& feature : features)
    sums.push_back(torch::stable::new_zeros(feature, feature.sizes(), accumulate_type(feature)));
  dispatch_floating(g, "roi_align_backward", [&](auto zero) {
    using T = decltype(zero);
    launch(g, g.numel(), spread<T>, pyramid<acc_t<T>, acc_t<T>>(sums, scales),
           boxes_of<acc_t<T>>(r, levels, set), g.const_data_ptr<T>());
  });
  for (Tensor& sum : sums) sum = torch::stable::to(sum, features[0].scalar_type());
  return sums;
}

Tensor roi_align(const Tensor& input, const Tensor& rois, double scale, int64_t height,
                 int64_t width, int64_t ratio, bool aligned) {
  return forward({input}, rois, nullptr, {scale}, {height, width, ratio, aligned});
}

Tensor roi_align_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, double scale,
                          int64_t height, int64_t width, int64_t ratio, bool aligned) {
  return backward(grad, {input}, rois, nullptr, {scale}, {height, width, ratio, aligned})[0];
}

Tensor checked_levels(const Tensor& levels, const std::vector<Tensor>& features, const Tensor& rois,
                      const std::vector<double>& scales) {
  STD_TORCH_CHECK(
      !features.empty() && features.size() == scales.size() && levels.numel() == rois.size(0),
      "roi_align_levels needs one scale for each map and one level for each box");
  return contiguous(levels);
}

Tensor roi_align_levels(std::vector<Tensor> features, const Tensor& rois, const Tensor& levels,
                        std::vector<double> scales, int64_t height, int64_t width, int64_t ratio,
                        bool aligned) {
  const Tensor l = checked_levels(levels, features, rois, scales);
  return forward(features, rois, &l, scales, {height, width, ratio, aligned});
}

std::vector<Tensor> roi_align_levels_backward(const Tensor& grad, std::vector<Tensor> features,
                                              const Tensor& rois, const Tensor& levels,
                                              std::vector<double> scales, int64_t height,
                                              int64_t width, int64_t ratio, bool aligned) {
  const Tensor l = checked_levels(levels, features, rois, scales);
  return backward(grad, features, rois, &l, scales, {height, width, ratio, aligned});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
  m.impl("roi_align_levels", TORCH_BOX(&roi_align_levels));
  m.impl("roi_align_levels_backward", TORCH_BOX(&roi_align_levels_backward));
}

}  // namespace okulo
