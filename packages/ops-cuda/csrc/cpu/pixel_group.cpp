#include <algorithm>
#include <vector>

#include "common/dispatch.h"

namespace okulo {
namespace {

// Calls visit(pixel) for the upper, lower, left and right neighbour that the image has.
template <typename Visit>
void for_each_neighbor(int64_t pixel, int64_t height, int64_t width, const Visit& visit) {
  const int64_t y = pixel / width, x = pixel % width;
  if (y > 0) visit(pixel - width);
  if (y + 1 < height) visit(pixel + width);
  if (x > 0) visit(pixel - 1);
  if (x + 1 < width) visit(pixel + 1);
}

void check_labels(const Tensor& label, int64_t count, const char* name) {
  const int32_t* value = label.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < label.numel(); ++i) {
    STD_TORCH_CHECK(value[i] >= 0 && value[i] < count, name, ": label ", value[i],
                    " is out of bounds for ", count, " labels");
  }
}

template <typename T>
void grow(const bool* free, const T* embedding, const bool* contour, int64_t height, int64_t width,
          int64_t channels, int64_t count, double threshold, int32_t* label) {
  std::vector<double> means(count * channels), sizes(count);
  std::vector<int64_t> queue;
  for (int64_t i = 0; i < height * width; ++i) {
    if (label[i] == 0) continue;
    for (int64_t c = 0; c < channels; ++c) {
      means[label[i] * channels + c] += static_cast<double>(embedding[i * channels + c]);
    }
    sizes[label[i]] += 1;
    if (contour[i]) queue.push_back(i);
  }
  for (int64_t i = 0; i < count * channels; ++i) means[i] /= std::max(sizes[i / channels], 1.0);
  for (size_t head = 0; head < queue.size(); ++head) {
    const int64_t from = queue[head];
    const double* mean = means.data() + label[from] * channels;
    for_each_neighbor(from, height, width, [&](int64_t i) {
      if (label[i] != 0 || !free[i]) return;
      double squared = 0;
      for (int64_t c = 0; c < channels; ++c) {
        const double step = static_cast<double>(embedding[i * channels + c]) - mean[c];
        squared += step * step;
      }
      if (!(squared < threshold * threshold)) return;
      label[i] = label[from];
      queue.push_back(i);
    });
  }
}

Tensor pixel_group(const Tensor& mask, const Tensor& embedding, const Tensor& label,
                   const Tensor& contour, int64_t count, double threshold) {
  const Tensor m = contiguous(mask), e = contiguous(embedding), k = contiguous(contour);
  const Tensor from = contiguous(label);
  STD_TORCH_CHECK(from.dim() == 2 && e.dim() == 3 && e.size(0) == from.size(0) &&
                      e.size(1) == from.size(1) && m.numel() == from.numel() &&
                      k.numel() == from.numel(),
                  "pixel_group: expected maps (H, W) and embeddings (H, W, C)");
  check_labels(from, count, "pixel_group");
  const Tensor result = torch::stable::clone(from);
  dispatch_floating(e, "pixel_group", [&](auto zero) {
    using T = decltype(zero);
    grow(m.const_data_ptr<bool>(), e.const_data_ptr<T>(), k.const_data_ptr<bool>(), e.size(0),
         e.size(1), e.size(2), count, threshold, result.mutable_data_ptr<int32_t>());
  });
  return result;
}

Tensor contour_expand(const Tensor& masks, const Tensor& label, int64_t min_area, int64_t count) {
  const Tensor m = contiguous(masks), from = contiguous(label);
  STD_TORCH_CHECK(m.dim() == 3 && from.dim() == 2 && m.size(0) >= 1 && m.size(1) == from.size(0) &&
                      m.size(2) == from.size(1),
                  "contour_expand: expected masks (K, H, W) and labels (H, W)");
  check_labels(from, count, "contour_expand");
  const int64_t height = from.size(0), width = from.size(1), pixels = height * width;
  const Tensor result = torch::stable::clone(from);
  int32_t* of = result.mutable_data_ptr<int32_t>();
  std::vector<int64_t> areas(count), queue, edge;
  for (int64_t i = 0; i < pixels; ++i) ++areas[of[i]];
  for (int64_t i = 0; i < pixels; ++i) {
    if (of[i] == 0) continue;
    if (areas[of[i]] >= min_area) {
      queue.push_back(i);
    } else {
      of[i] = 0;
    }
  }
  for (int64_t layer = m.size(0) - 2; layer >= 0; --layer) {
    const bool* free = m.const_data_ptr<bool>() + layer * pixels;
    edge.clear();
    for (size_t head = 0; head < queue.size(); ++head) {
      const int64_t at = queue[head];
      bool grew = false;
      for_each_neighbor(at, height, width, [&](int64_t i) {
        if (of[i] != 0 || !free[i]) return;
        of[i] = of[at];
        queue.push_back(i);
        grew = true;
      });
      if (!grew) edge.push_back(at);  // it waits for the next mask
    }
    queue.swap(edge);
  }
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("pixel_group", TORCH_BOX(&pixel_group));
  m.impl("contour_expand", TORCH_BOX(&contour_expand));
}

}  // namespace okulo
