#include "common/paste_masks.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

// One thread for a pixel of a pasted mask.
template <typename T>
__global__ void paste(int64_t n, const T* masks, int64_t size, const T* boxes, int64_t height,
                      int64_t width, acc_t<T> threshold, unsigned char* out) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    const int64_t x = i % width, y = i / width % height, instance = i / (width * height);
    const T* box = boxes + 4 * instance;
    const A x0 = box[0], y0 = box[1], x1 = box[2], y1 = box[3];
    out[i] = 0;
    if (!(x1 > x0 && y1 > y0 && is_near(x, x0, x1) && is_near(y, y0, y1))) continue;
    const CellPair<A> u = tap(x, x0, x1, size), v = tap(y, y0, y1, size);
    const T* mask = masks + instance * size * size;
    const auto cell = [=](int64_t row, int64_t column) {
      const bool inside = row >= 0 && row < size && column >= 0 && column < size;
      return inside ? static_cast<A>(mask[row * size + column]) : A(0);
    };
    const auto mixed = [=](int64_t column) {
      return cell(v.index - 1, column) * v.before + cell(v.index, column) * v.after;
    };
    out[i] = finished(mixed(u.index - 1) * u.before + mixed(u.index) * u.after, threshold);
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
      torch::stable::new_empty(m, {n, height, width}, soft ? ScalarType::Byte : ScalarType::Bool);
  dispatch_floating(m, "paste_masks", [&](auto zero) {
    using T = decltype(zero);
    launch(m, pasted.numel(), paste<T>, m.const_data_ptr<T>(), size, b.const_data_ptr<T>(), height,
           width, static_cast<acc_t<T>>(threshold),
           static_cast<unsigned char*>(pasted.mutable_data_ptr()));
  });
  return pasted;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("paste_masks", TORCH_BOX(&paste_masks)); }

}  // namespace okulo
