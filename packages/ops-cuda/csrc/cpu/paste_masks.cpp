#include "common/paste_masks.h"

#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

struct Range {
  int64_t begin, end;
};

// The pixels that a box comes near to.
template <typename A>
Range range(A low, A high, int64_t pixels) {
  if (!(high > low)) return {0, 0};
  const auto limit = [=](A x) {
    return static_cast<int64_t>(std::min(std::max(x, A(0)), static_cast<A>(pixels)));
  };
  return {limit(std::floor(low) - 1), limit(std::ceil(high) + 1)};
}

template <typename T>
void paste(const T* mask, int64_t size, const T* box, int64_t height, int64_t width,
           acc_t<T> threshold, unsigned char* out) {
  using A = acc_t<T>;
  const A x0 = box[0], y0 = box[1], x1 = box[2], y1 = box[3];
  const Range columns = range(x0, x1, width), rows = range(y0, y1, height);
  std::vector<CellPair<A>> taps;
  for (int64_t x = columns.begin; x < columns.end; ++x) taps.push_back(tap(x, x0, x1, size));
  std::vector<A> line(size + 2);  // the mask's two rows around a pixel, mixed; a zero at each end
  const auto cell = [&](int64_t row, int64_t column) {
    return row >= 0 && row < size ? static_cast<A>(mask[row * size + column]) : A(0);
  };
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    const CellPair<A> v = tap(y, y0, y1, size);
    for (int64_t i = 0; i < size; ++i) {
      line[i + 1] = cell(v.index - 1, i) * v.before + cell(v.index, i) * v.after;
    }
    unsigned char* to = out + y * width + columns.begin;
    for (size_t i = 0; i < taps.size(); ++i) {
      const CellPair<A>& u = taps[i];
      to[i] = finished(line[u.index] * u.before + line[u.index + 1] * u.after, threshold);
    }
  }
}

Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width,
                   double threshold) {
  const Tensor m = contiguous(masks);
  const Tensor b = contiguous(boxes);
  const int64_t n = m.size(0), size = m.size(1);
  STD_TORCH_CHECK(
      m.dim() == 3 && m.size(2) == size && b.numel() == 4 * n && b.scalar_type() == m.scalar_type(),
      "paste_masks: expected square masks and a box of their dtype for each");
  const bool soft = threshold < 0;
  const Tensor pasted =
      torch::stable::new_zeros(m, {n, height, width}, soft ? ScalarType::Byte : ScalarType::Bool);
  auto* out = static_cast<unsigned char*>(pasted.mutable_data_ptr());
  dispatch_floating(m, "paste_masks", [&](auto zero) {
    using T = decltype(zero);
    const T *cells = m.const_data_ptr<T>(), *sides = b.const_data_ptr<T>();
    parallel_rows(n, height * width / 4, [&](int64_t i) {
      paste(cells + i * size * size, size, sides + 4 * i, height, width,
            static_cast<acc_t<T>>(threshold), out + i * height * width);
    });
  });
  return pasted;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("paste_masks", TORCH_BOX(&paste_masks)); }

}  // namespace okulo
