// Greedy suppression of boxes that come by decreasing score. A box is compared with the kept ones
// only, many at a time, and no further once one of them suppresses it.
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "common/boxes.h"
#include "common/dispatch.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

constexpr int64_t kLanes = 32;  // kept boxes compared before looking whether one suppresses

// Kept boxes, coordinate by coordinate, filled up with boxes that suppress nothing.
template <typename A>
class Kept {
 public:
  Kept(int64_t capacity, A offset) : offset_(offset) {
    const A nan = std::numeric_limits<A>::quiet_NaN();
    for (auto* values : {&x0_, &y0_, &x1_, &y1_, &area_}) values->assign(capacity + kLanes, nan);
    rank_.resize(capacity);
  }

  void add(const Box<A>& box, int64_t rank) {
    x0_[size_] = box.x0, y0_[size_] = box.y0, x1_[size_] = box.x1, y1_[size_] = box.y1;
    area_[size_] = box_area(box, offset_);
    rank_[size_++] = rank;
  }

  // The rank of the first box that suppresses this one, or -1.
  template <typename Test>
  int64_t suppressor(const Box<A>& box, const Test& test) const {
    const A area = box_area(box, offset_);
    const auto suppresses = [&](int64_t k) {
      const A shared = shared_area({x0_[k], y0_[k], x1_[k], y1_[k]}, box, offset_);
      return test(shared / (area_[k] + area - shared));
    };
    for (int64_t k = 0; k < size_; k += kLanes) {
      int any = 0;
      for (int64_t lane = 0; lane < kLanes; ++lane) any |= suppresses(k + lane);
      if (!any) continue;
      while (!suppresses(k)) ++k;
      return rank_[k];
    }
    return -1;
  }

 private:
  A offset_;
  int64_t size_ = 0;
  std::vector<A> x0_, y0_, x1_, y1_, area_;
  std::vector<int64_t> rank_;
};

// Writes for each of the n boxes of one category who suppresses it, itself if nobody does.
// ranks: their rows in boxes and owner, increasing.
template <typename T, typename Test>
void suppress(const T* boxes, const int64_t* ranks, int64_t n, acc_t<T> offset, const Test& test,
              int64_t* owner) {
  using A = acc_t<T>;
  Kept<A> kept(n, offset);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t rank = ranks[i];
    const Box<A> box = load_box<A>(boxes + 4 * rank);
    owner[rank] = kept.suppressor(box, test);
    if (owner[rank] >= 0) continue;
    owner[rank] = rank;
    kept.add(box, rank);
  }
}

// Ranks grouped by category, increasing within each, and where each group begins.
struct Groups {
  std::vector<int64_t> ranks, begins;
};

Groups groups_of(const std::optional<Tensor>& idxs, int64_t n) {
  Groups groups{std::vector<int64_t>(n), {0}};
  std::iota(groups.ranks.begin(), groups.ranks.end(), 0);
  if (idxs) {
    STD_TORCH_CHECK(idxs->numel() == n, "expected one category per box");
    const int64_t* category = idxs->const_data_ptr<int64_t>();
    std::stable_sort(groups.ranks.begin(), groups.ranks.end(),
                     [=](int64_t a, int64_t b) { return category[a] < category[b]; });
    for (int64_t i = 1; i < n; ++i) {
      if (category[groups.ranks[i]] != category[groups.ranks[i - 1]]) groups.begins.push_back(i);
    }
  }
  if (n > 0) groups.begins.push_back(n);
  return groups;
}

template <typename T, typename Test>
void suppress_in_groups(const Tensor& boxes, const Groups& groups, double offset, const Test& test,
                        int64_t* owner) {
  const int64_t count = groups.begins.size() - 1;
  const int64_t each = groups.ranks.size() / std::max<int64_t>(1, count);
  parallel_rows(count, each * each / 8, [&](int64_t g) {
    const int64_t begin = groups.begins[g];
    suppress(boxes.const_data_ptr<T>(), groups.ranks.data() + begin, groups.begins[g + 1] - begin,
             static_cast<acc_t<T>>(offset), test, owner);
  });
}

Tensor nms(const Tensor& boxes, const std::optional<Tensor>& idxs, double iou_threshold,
           int64_t offset) {
  const Tensor b = contiguous(boxes);
  const int64_t n = b.numel() / 4;
  const Groups groups = groups_of(contiguous(idxs), n);
  std::vector<int64_t> owner(n);
  const Tensor kept = torch::stable::new_empty(b, {n}, ScalarType::Bool);
  dispatch_floating(b, "nms", [&](auto zero) {
    using A = acc_t<decltype(zero)>;
    const A threshold = static_cast<A>(iou_threshold);
    suppress_in_groups<decltype(zero)>(
        b, groups, offset, [=](A iou) { return iou > threshold; }, owner.data());
  });
  bool* out = kept.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < n; ++i) out[i] = owner[i] == i;
  return kept;
}

Tensor nms_match(const Tensor& boxes, double iou_threshold) {
  const Tensor b = contiguous(boxes);
  const int64_t n = b.numel() / 4;
  const Tensor owner = torch::stable::new_empty(b, {n}, ScalarType::Long);
  dispatch_floating(b, "nms_match", [&](auto zero) {
    using A = acc_t<decltype(zero)>;
    const A threshold = static_cast<A>(iou_threshold);
    suppress_in_groups<decltype(zero)>(
        b, groups_of(std::nullopt, n), 0, [=](A iou) { return iou >= threshold; },
        owner.mutable_data_ptr<int64_t>());
  });
  return owner;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("nms_match", TORCH_BOX(&nms_match));
}

}  // namespace okulo
