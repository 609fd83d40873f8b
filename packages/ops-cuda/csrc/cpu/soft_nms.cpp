// Soft suppression (https://arxiv.org/abs/1704.04503): the best box is taken, the scores of the
// others decay by their overlap with it, and so on until none is left.
#include "common/soft_nms.h"

#include <vector>

#include "common/boxes.h"
#include "common/dispatch.h"

namespace okulo {
namespace {

// The boxes that are left, in their original order.
template <typename A>
struct Left {
  std::vector<A> x0, y0, x1, y1, area, score, iou;
  std::vector<int64_t> index;
  int64_t size = 0;

  explicit Left(int64_t n) : index(n) {
    for (auto* values : {&x0, &y0, &x1, &y1, &area, &score, &iou}) values->resize(n);
  }

  Box<A> box(int64_t i) const { return {x0[i], y0[i], x1[i], y1[i]}; }

  void put(int64_t at, const Box<A>& b, A its_area, A its_score, int64_t its_index) {
    x0[at] = b.x0, y0[at] = b.y0, x1[at] = b.x1, y1[at] = b.y1;
    area[at] = its_area, score[at] = its_score, index[at] = its_index;
  }

  int64_t best() const {
    int64_t best = 0;
    for (int64_t i = 1; i < size; ++i) {
      if (before(score[i], score[best])) best = i;
    }
    return best;
  }

  void compare_with(int64_t chosen, A offset) {
    const Box<A> its = box(chosen);
    const A its_area = area[chosen];
    for (int64_t i = 0; i < size; ++i) {
      const A shared = shared_area(box(i), its, offset);
      iou[i] = shared / (area[i] + its_area - shared);
    }
  }
};

template <typename T>
void choose(const T* boxes, const T* scores, const int64_t* category, int64_t n,
            const Settings& settings, acc_t<T> offset, std::vector<T>& values,
            std::vector<int64_t>& order) {
  using A = acc_t<T>;
  const A min_score = static_cast<A>(settings.min_score);
  Left<A> left(n);
  for (int64_t i = 0; i < n; ++i) {
    const Box<A> box = load_box<A>(boxes + 4 * i);
    left.put(i, box, box_area(box, offset), static_cast<A>(scores[i]), i);
  }
  left.size = n;
  while (left.size > 0) {
    const int64_t best = left.best();
    const int64_t chosen = left.index[best];
    order.push_back(chosen);
    values.push_back(static_cast<T>(left.score[best]));
    left.compare_with(best, offset);
    int64_t staying = 0;
    for (int64_t i = 0; i < left.size; ++i) {
      const bool touched = !category || category[left.index[i]] == category[chosen];
      const A score = touched ? left.score[i] * decay(left.iou[i], settings) : left.score[i];
      if (i == best || score < min_score) continue;
      left.put(staying++, left.box(i), left.area[i], score, left.index[i]);
    }
    left.size = staying;
  }
}

std::tuple<Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores,
                                    const std::optional<Tensor>& idxs, double iou_threshold,
                                    double sigma, double min_score, int64_t method,
                                    int64_t offset) {
  const Tensor b = contiguous(boxes);
  const Tensor s = contiguous(scores);
  const std::optional<Tensor> category = contiguous(idxs);
  const int64_t n = b.numel() / 4;
  STD_TORCH_CHECK(
      s.numel() == n && (!category || category->numel() == n) && s.scalar_type() == b.scalar_type(),
      "expected a score of the boxes' dtype, and a category, per box");
  std::vector<int64_t> order;
  Tensor values_out, order_out;
  dispatch_floating(b, "soft_nms", [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> values;
    choose<T>(b.const_data_ptr<T>(), s.const_data_ptr<T>(), data_or_null<int64_t>(category), n,
              {iou_threshold, sigma, min_score, method}, static_cast<acc_t<T>>(offset), values,
              order);
    values_out = torch::stable::new_empty(b, {static_cast<int64_t>(values.size())});
    std::copy(values.begin(), values.end(), values_out.mutable_data_ptr<T>());
  });
  order_out = torch::stable::new_empty(b, {static_cast<int64_t>(order.size())}, ScalarType::Long);
  std::copy(order.begin(), order.end(), order_out.mutable_data_ptr<int64_t>());
  return {values_out, order_out};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) { m.impl("soft_nms", TORCH_BOX(&soft_nms)); }

}  // namespace okulo
