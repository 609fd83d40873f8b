// ROIAlign by the mean of bilinear samples, over one map or the levels of a pyramid.
//
// Samples of a bin lie on a grid, so its mean is a sum over rows and columns with one weight each;
// these are found once for a box, samples that read the same cell merged. The work is cut into
// blocks of channels: a block of a map, its channels side by side, is small enough to stay in the
// cache while all boxes are pooled from it, and belongs to one thread, so that nothing is shared in
// the backward pass.
#include "cpu/roi_align.h"

#include <algorithm>
#include <memory>

#include "cpu/lanes.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

template <typename A>
struct Tap {
  int32_t cell;
  A weight;
};

// Which cells along one axis each bin reads: taps[begin[i]] .. taps[begin[i + 1]].
template <typename A>
struct Bins {
  std::vector<int32_t> begin;
  std::vector<Tap<A>> taps;
  int64_t first;  // All cells are in [first, last).
  int64_t last;

  Bins() = default;
  Bins(const RoiAxis<A>& axis, int64_t bins, int64_t cells) : first(cells), last(0) {
    const A share = 1 / static_cast<A>(axis.count);
    begin.push_back(0);
    for (int64_t i = 0; i < bins; ++i) {
      const int64_t end = axis.last(i, cells);
      for (int64_t s = axis.first(i); s < end; ++s) {
        const RoiTaps<A> sample = roi_taps(axis.position(i, s), cells);
        if (!sample.inside) continue;
        add(sample.low, sample.low_weight * share);
        if (sample.high_weight != 0) add(sample.high, sample.high_weight * share);
      }
      begin.push_back(static_cast<int32_t>(taps.size()));
    }
  }

  void add(int64_t cell, A weight) {
    first = std::min(first, cell);
    last = std::max(last, cell + 1);
    // Neighbouring samples share at most their two cells.
    const size_t size = taps.size();
    for (size_t i = size; i > static_cast<size_t>(begin.back()) && i + 2 > size; --i) {
      if (taps[i - 1].cell == cell) {
        taps[i - 1].weight += weight;
        return;
      }
    }
    taps.push_back({static_cast<int32_t>(cell), weight});
  }
};

template <typename A>
struct Box {
  int64_t level;
  int64_t image;
  Bins<A> y;
  Bins<A> x;
};

// The boxes of one image on one level, and the part of the map that they read.
struct Group {
  int64_t level;
  int64_t image;
  std::vector<int64_t> boxes;
  int64_t y0, y1, x0, x1;

  int64_t width() const { return x1 - x0; }
  int64_t area() const { return (y1 - y0) * width(); }
};

struct Settings {
  int64_t height;
  int64_t width;
  int64_t ratio;
  bool aligned;

  int64_t bins() const { return height * width; }
};

template <typename A>
std::vector<Box<A>> find_boxes(const std::vector<Tensor>& maps, const Tensor& rois,
                               const int64_t* levels, const std::vector<double>& scales,
                               const Settings& set) {
  const A* roi = rois.const_data_ptr<A>();
  const int64_t count = static_cast<int64_t>(maps.size());
  std::vector<Box<A>> boxes(rois.size(0));
  for (int64_t k = 0; k < rois.size(0); ++k) {
    boxes[k].level = levels ? levels[k] : 0;
    STD_TORCH_CHECK(boxes[k].level >= 0 && boxes[k].level < count, "levels must index one of the ",
                    count, " maps, got ", boxes[k].level);
    boxes[k].image = image_of(roi + 5 * k, maps[boxes[k].level].size(0));
  }
  parallel_rows(rois.size(0), 500, [&](int64_t k) {
    const A* r = roi + 5 * k;
    const Tensor& map = maps[boxes[k].level];
    const A scale = static_cast<A>(scales[boxes[k].level]);
    const auto y = roi_axis<A>(r[2], r[4], scale, set.height, set.ratio, set.aligned);
    const auto x = roi_axis<A>(r[1], r[3], scale, set.width, set.ratio, set.aligned);
    boxes[k].y = Bins<A>(y, set.height, map.size(2));
    boxes[k].x = Bins<A>(x, set.width, map.size(3));
  });
  return boxes;
}

template <typename A>
std::vector<Group> group_boxes(const std::vector<Tensor>& maps, const std::vector<Box<A>>& boxes) {
  std::vector<Group> groups;
  std::vector<int64_t> start;  // of each level in groups
  for (size_t level = 0; level < maps.size(); ++level) {
    start.push_back(static_cast<int64_t>(groups.size()));
    const Tensor& map = maps[level];
    for (int64_t image = 0; image < map.size(0); ++image)
      groups.push_back({static_cast<int64_t>(level), image, {}, map.size(2), 0, map.size(3), 0});
  }
  for (size_t k = 0; k < boxes.size(); ++k) {
    const Box<A>& box = boxes[k];
    Group& group = groups[start[box.level] + box.image];
    group.boxes.push_back(static_cast<int64_t>(k));
    if (box.y.taps.empty() || box.x.taps.empty()) continue;
    group.y0 = std::min(group.y0, box.y.first);
    group.y1 = std::max(group.y1, box.y.last);
    group.x0 = std::min(group.x0, box.x.first);
    group.x1 = std::max(group.x1, box.x.last);
  }
  std::erase_if(groups, [](const Group& group) { return group.boxes.empty(); });
  for (Group& group : groups)
    if (group.y1 <= group.y0) group.y0 = group.y1 = group.x0 = group.x1 = 0;
  return groups;
}

// Calls f(cell of the tile, element of the map) for every cell that a group reads, row by row.
template <typename F>
void for_each_cell(const Group& group, int64_t map_width, const F& f) {
  int64_t cell = 0;
  for (int64_t y = group.y0; y < group.y1; ++y)
    for (int64_t x = group.x0; x < group.x1; ++x) f(cell++, y * map_width + x);
}

// B channels of the bins of one box from the tile of its group.
template <typename A, int B>
void pool_box(const Box<A>& box, const Group& group, const A* tile, A* pooled) {
  for (size_t i = 0; i + 1 < box.y.begin.size(); ++i) {
    for (size_t j = 0; j + 1 < box.x.begin.size(); ++j) {
      Lanes<A, B> sum;
      for (int32_t ty = box.y.begin[i]; ty < box.y.begin[i + 1]; ++ty) {
        const A* row = tile + ((box.y.taps[ty].cell - group.y0) * group.width() - group.x0) * B;
        Lanes<A, B> line;
        for (int32_t tx = box.x.begin[j]; tx < box.x.begin[j + 1]; ++tx) {
          const Tap<A> tap = box.x.taps[tx];
          line.add(tap.weight, Lanes<A, B>(row + static_cast<int64_t>(tap.cell) * B));
        }
        sum.add(box.y.taps[ty].weight, line);
      }
      sum.store(pooled);
      pooled += B;
    }
  }
}

// Adds what the gradient of the bins of one box gives to the cells of the tile.
template <typename A, int B>
void spread_box(const Box<A>& box, const Group& group, const A* grad, A* tile) {
  for (size_t i = 0; i + 1 < box.y.begin.size(); ++i) {
    for (size_t j = 0; j + 1 < box.x.begin.size(); ++j) {
      for (int32_t ty = box.y.begin[i]; ty < box.y.begin[i + 1]; ++ty) {
        A* row = tile + ((box.y.taps[ty].cell - group.y0) * group.width() - group.x0) * B;
        Lanes<A, B> line;
        line.add(box.y.taps[ty].weight, Lanes<A, B>(grad));
        for (int32_t tx = box.x.begin[j]; tx < box.x.begin[j + 1]; ++tx) {
          const Tap<A> tap = box.x.taps[tx];
          A* at = row + static_cast<int64_t>(tap.cell) * B;
          Lanes<A, B> cell(at);
          cell.add(tap.weight, line);
          cell.store(at);
        }
      }
      grad += B;
    }
  }
}

// Calls body(group, first channel, channels, tile, bins): each call has a block of at most B
// channels of one group, and memory for its cells and for the bins of a box.
template <typename A, int B, typename Body>
void for_each_block(const std::vector<Group>& groups, int64_t channels, int64_t bins,
                    const Body& body) {
  const int64_t count = static_cast<int64_t>(groups.size());
  const int64_t blocks = (channels + B - 1) / B;
  int64_t area = 0;
  for (const Group& group : groups) area = std::max(area, group.area());
  torch::stable::parallel_for(0, blocks * count, 1, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<A[]> tile(new A[area * B]);
    const std::unique_ptr<A[]> pooled(new A[bins * B]);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task / count * B;  // Threads get equal shares of each level.
      body(groups[task % count], first, std::min<int64_t>(B, channels - first), tile.get(),
           pooled.get());
    }
  });
}

template <typename T, int B>
void pool(const std::vector<Tensor>& maps, const std::vector<Box<acc_t<T>>>& boxes,
          const Settings& set, int64_t channels, T* out) {
  using A = acc_t<T>;
  const std::vector<Group> groups = group_boxes(maps, boxes);
  const int64_t bins = set.bins();
  for_each_block<A, B>(groups, channels, bins,
                       [&](const Group& group, int64_t first, int64_t n, A* tile, A* pooled) {
                         const Tensor& map = maps[group.level];
                         const int64_t plane = map.size(2) * map.size(3);
                         const T* in =
                             map.const_data_ptr<T>() + (group.image * channels + first) * plane;
                         for_each_cell(group, map.size(3), [&](int64_t cell, int64_t at) {
                           for (int64_t c = 0; c < B; ++c)
                             tile[cell * B + c] = c < n ? static_cast<A>(in[c * plane + at]) : A(0);
                         });
                         for (const int64_t k : group.boxes) {
                           pool_box<A, B>(boxes[k], group, tile, pooled);
                           T* to = out + (k * channels + first) * bins;
                           for (int64_t c = 0; c < n; ++c)
                             for (int64_t b = 0; b < bins; ++b)
                               to[c * bins + b] = static_cast<T>(pooled[b * B + c]);
                         }
                       });
}

template <typename T, int B>
void spread(const std::vector<Tensor>& maps, const std::vector<Box<acc_t<T>>>& boxes,
            const Settings& set, int64_t channels, const T* grad,
            const std::vector<Tensor>& results) {
  using A = acc_t<T>;
  const std::vector<Group> groups = group_boxes(maps, boxes);
  const int64_t bins = set.bins();
  for_each_block<A, B>(groups, channels, bins,
                       [&](const Group& group, int64_t first, int64_t n, A* tile, A* pooled) {
                         std::fill(tile, tile + group.area() * B, A(0));
                         std::fill(pooled, pooled + bins * B, A(0));
                         for (const int64_t k : group.boxes) {
                           const T* from = grad + (k * channels + first) * bins;
                           for (int64_t c = 0; c < n; ++c)
                             for (int64_t b = 0; b < bins; ++b)
                               pooled[b * B + c] = static_cast<A>(from[c * bins + b]);
                           spread_box<A, B>(boxes[k], group, pooled, tile);
                         }
                         const Tensor& map = results[group.level];
                         const int64_t plane = map.size(2) * map.size(3);
                         T* out =
                             map.mutable_data_ptr<T>() + (group.image * channels + first) * plane;
                         for_each_cell(group, map.size(3), [&](int64_t cell, int64_t at) {
                           for (int64_t c = 0; c < n; ++c)
                             out[c * plane + at] = static_cast<T>(tile[cell * B + c]);
                         });
                       });
}

constexpr int kBlock = 16;

std::vector<Tensor> contiguous_maps(const std::vector<Tensor>& features) {
  std::vector<Tensor> maps;
  for (const Tensor& feature : features) {
    STD_TORCH_CHECK(feature.scalar_type() == features[0].scalar_type() &&
                        feature.size(1) == features[0].size(1),
                    "features must agree in dtype and channels");
    maps.push_back(contiguous(feature));
  }
  return maps;
}

Tensor forward(const std::vector<Tensor>& features, const Tensor& rois, const int64_t* levels,
               const std::vector<double>& scales, const Settings& set) {
  const std::vector<Tensor> maps = contiguous_maps(features);
  const Tensor r = accumulate_rois(rois, maps[0]);
  const int64_t channels = maps[0].size(1);
  const Tensor pooled =
      torch::stable::new_empty(maps[0], {r.size(0), channels, set.height, set.width});
  dispatch_floating(maps[0], "roi_align", [&](auto zero) {
    using T = decltype(zero);
    const auto boxes = find_boxes<acc_t<T>>(maps, r, levels, scales, set);
    T* out = pooled.mutable_data_ptr<T>();
    if (channels < kBlock / 2)
      pool<T, 1>(maps, boxes, set, channels, out);
    else
      pool<T, kBlock>(maps, boxes, set, channels, out);
  });
  return pooled;
}

std::vector<Tensor> backward(const Tensor& grad, const std::vector<Tensor>& features,
                             const Tensor& rois, const int64_t* levels,
                             const std::vector<double>& scales, const Settings& set) {
  const Tensor g = contiguous(grad);
  const Tensor r = accumulate_rois(rois, features[0]);
  const int64_t channels = features[0].size(1);
  check_gradient(g, r.size(0) * channels * set.height * set.width);
  std::vector<Tensor> results;
  for (const Tensor& feature : features)
    results.push_back(torch::stable::new_zeros(feature, feature.sizes()));
  dispatch_floating(features[0], "roi_align_backward", [&](auto zero) {
    using T = decltype(zero);
    const auto boxes = find_boxes<acc_t<T>>(features, r, levels, scales, set);
    const T* from = g.const_data_ptr<T>();
    if (channels < kBlock / 2)
      spread<T, 1>(features, boxes, set, channels, from, results);
    else
      spread<T, kBlock>(features, boxes, set, channels, from, results);
  });
  return results;
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
  return forward(features, rois, l.const_data_ptr<int64_t>(), scales,
                 {height, width, ratio, aligned});
}

std::vector<Tensor> roi_align_levels_backward(const Tensor& grad, std::vector<Tensor> features,
                                              const Tensor& rois, const Tensor& levels,
                                              std::vector<double> scales, int64_t height,
                                              int64_t width, int64_t ratio, bool aligned) {
  const Tensor l = checked_levels(levels, features, rois, scales);
  return backward(grad, features, rois, l.const_data_ptr<int64_t>(), scales,
                  {height, width, ratio, aligned});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
  m.impl("roi_align_levels", TORCH_BOX(&roi_align_levels));
  m.impl("roi_align_levels_backward", TORCH_BOX(&roi_align_levels_backward));
}

}  // namespace okulo
