#include "common/bbox_overlaps.h"

#include <vector>

#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

// Boxes coordinate by coordinate, so that one box is compared with many at a time.
template <typename A>
struct Columns {
  std::vector<A> x0, y0, x1, y1, area;

  template <typename T>
  Columns(const T* rows, int64_t n, A offset) {
    for (auto* values : {&x0, &y0, &x1, &y1, &area}) values->resize(n);
    for (int64_t i = 0; i < n; ++i) {
      const Box<A> box = load_box<A>(rows + 4 * i);
      x0[i] = box.x0, y0[i] = box.y0, x1[i] = box.x1, y1[i] = box.y1;
      area[i] = box_area(box, offset);
    }
  }
};

template <typename T>
void pairs(const T* first, const T* second, int64_t m, int64_t n, bool of_first, acc_t<T> offset,
           T* out) {
  using A = acc_t<T>;
  const Columns<A> others(second, n, offset);
  parallel_rows(m, 2 * n, [&](int64_t i) {
    const Box<A> box = load_box<A>(first + 4 * i);
    const A area = box_area(box, offset);
    const A *x0 = others.x0.data(), *y0 = others.y0.data(), *x1 = others.x1.data(),
            *y1 = others.y1.data(), *areas = others.area.data();
    T* row = out + i * n;
    for (int64_t j = 0; j < n; ++j) {
      row[j] = static_cast<T>(
          overlap<A>(box, {x0[j], y0[j], x1[j], y1[j]}, area, areas[j], of_first, offset));
    }
  });
}

template <typename T>
void rows(const T* first, const T* second, int64_t n, bool of_first, acc_t<T> offset, T* out) {
  using A = acc_t<T>;
  parallel_rows(n, 8, [&](int64_t i) {
    const Box<A> a = load_box<A>(first + 4 * i), b = load_box<A>(second + 4 * i);
    out[i] = static_cast<T>(
        overlap<A>(a, b, box_area(a, offset), box_area(b, offset), of_first, offset));
  });
}

Tensor bbox_overlaps(const Tensor& bboxes1, const Tensor& bboxes2, bool of_first, bool aligned,
                     int64_t offset) {
  const Tensor a = contiguous(bboxes1);
  const Tensor b = contiguous(bboxes2);
  const int64_t m = a.numel() / 4, n = b.numel() / 4;
  STD_TORCH_CHECK(a.scalar_type() == b.scalar_type() && (!aligned || m == n),
                  "bbox_overlaps: expected boxes of one dtype, equally many if aligned");
  const Tensor out =
      aligned ? torch::stable::new_empty(a, {m}) : torch::stable::new_empty(a, {m, n});
  dispatch_floating(a, "bbox_overlaps", [&](auto zero) {
    using T = decltype(zero);
    const T *first = a.const_data_ptr<T>(), *second = b.const_data_ptr<T>();
    const auto by = static_cast<acc_t<T>>(offset);
    T* result = out.mutable_data_ptr<T>();
    if (aligned) return rows<T>(first, second, m, of_first, by, result);
    pairs<T>(first, second, m, n, of_first, by, result);
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("bbox_overlaps", TORCH_BOX(&bbox_overlaps)); }

}  // namespace okulo
