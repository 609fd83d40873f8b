// Greedy suppression in two steps, both on the device: a bit for every pair of boxes, then one
// block of threads that walks through the ranks 64 at a time.
#include "common/boxes.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

using Word = unsigned long long;
constexpr int64_t kBits = 64;

// Word w of box i, at w * boxes + i, tells which of the boxes 64 w ... 64 w + 63 that come after i
// it suppresses; words before i's own are never read and stay unwritten.
template <typename T>
__global__ void compare(int64_t n, int64_t boxes, const T* rows, const int64_t* category,
                        acc_t<T> threshold, acc_t<T> offset, Word* overlaps) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(item, n) {
    const int64_t i = item % boxes;
    const int64_t first = item / boxes * kBits;
    if (first + kBits <= i) continue;
    const Box<A> box = load_box<A>(rows + 4 * i);
    const A area = box_area(box, offset);
    Word word = 0;
    for (int64_t j = max(first, i + 1); j < min(first + kBits, boxes); ++j) {
      if (category != nullptr && category[i] != category[j]) continue;
      const Box<A> other = load_box<A>(rows + 4 * j);
      const A shared = shared_area(box, other, offset);
      if (shared / (area + box_area(other, offset) - shared) > threshold) {
        word |= Word(1) << (j - first);
      }
    }
    overlaps[item] = word;
  }
}

// One block. removed: a word of zeros for every 64 boxes.
__global__ void scan(int64_t boxes, int64_t words, const Word* overlaps, Word* removed,
                     bool* kept) {
  __shared__ Word among[kBits];  // who suppresses whom within the current 64
  __shared__ Word staying;
  for (int64_t w = 0; w < words; ++w) {
    const int64_t first = w * kBits;
    const int size = static_cast<int>(min(kBits, boxes - first));
    if (threadIdx.x < size) among[threadIdx.x] = overlaps[w * boxes + first + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) {
      Word gone = removed[w], stay = 0;
      for (int i = 0; i < size; ++i) {
        if (gone >> i & 1) continue;
        stay |= Word(1) << i;
        gone |= among[i];
      }
      staying = stay;
    }
    __syncthreads();
    if (threadIdx.x < size) kept[first + threadIdx.x] = staying >> threadIdx.x & 1;
    for (int64_t later = w + 1 + threadIdx.x; later < words; later += blockDim.x) {
      const Word* row = overlaps + later * boxes + first;
      Word gone = removed[later];
      for (Word rest = staying; rest != 0; rest &= rest - 1) gone |= row[__ffsll(rest) - 1];
      removed[later] = gone;
    }
    __syncthreads();  // `removed` is complete, `among` and `staying` may be overwritten
  }
}

Word* words_of(const Tensor& tensor) {
  return reinterpret_cast<Word*>(tensor.mutable_data_ptr<int64_t>());
}

Tensor nms(const Tensor& boxes, const std::optional<Tensor>& idxs, double iou_threshold,
           int64_t offset) {
  const Tensor b = contiguous(boxes);
  const std::optional<Tensor> category = contiguous(idxs);
  const int64_t n = b.numel() / 4;
  const int64_t words = (n + kBits - 1) / kBits;
  const Tensor kept = torch::stable::new_empty(b, {n}, ScalarType::Bool);
  if (n == 0) return kept;
  STD_TORCH_CHECK(!category || category->numel() == n, "expected one category per box");
  const Tensor overlaps = torch::stable::new_empty(b, {words * n}, ScalarType::Long);
  const Tensor removed = torch::stable::new_zeros(b, {words}, ScalarType::Long);
  dispatch_floating(b, "nms", [&](auto zero) {
    using T = decltype(zero);
    launch(b, words * n, compare<T>, n, b.const_data_ptr<T>(), data_or_null<int64_t>(category),
           static_cast<acc_t<T>>(iou_threshold), static_cast<acc_t<T>>(offset), words_of(overlaps));
  });
  const torch::stable::accelerator::DeviceGuard guard(b.get_device_index());
  scan<<<1, 1024, 0, current_stream(b)>>>(n, words, words_of(overlaps), words_of(removed),
                                          kept.mutable_data_ptr<bool>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("nms", TORCH_BOX(&nms)); }

}  // namespace okulo
