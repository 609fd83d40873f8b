// Greedy suppression on the device: a bit for every pair of shapes, then one block of threads that
// walks through the ranks 64 at a time.
#pragma once

#include "cuda/launch.h"

namespace okulo {

using Word = unsigned long long;
constexpr int64_t kBits = 64;

// Word w of shape i, at w * count + i, tells which of the shapes 64 w ... 64 w + 63 that come
// after i it suppresses; words before i's own are never read and stay unwritten.
// shapes.load(i): the i-th; shapes.over(a, b): whether b overlaps the earlier a by more than the
// threshold.
template <typename Shapes>
__global__ void compare_ranked(int64_t n, int64_t count, const int64_t* category, Shapes shapes,
                               Word* overlaps) {
  OKULO_CUDA_LOOP(item, n) {
    const int64_t i = item % count;
    const int64_t first = item / count * kBits;
    if (first + kBits <= i) continue;
    const auto shape = shapes.load(i);
    Word word = 0;
    for (int64_t j = max(first, i + 1); j < min(first + kBits, count); ++j) {
      if (category != nullptr && category[i] != category[j]) continue;
      if (shapes.over(shape, shapes.load(j))) word |= Word(1) << (j - first);
    }
    overlaps[item] = word;
  }
}

// One block. removed: a word of zeros for every 64 shapes.
static __global__ void scan_ranked(int64_t count, int64_t words, const Word* overlaps,
                                   Word* removed, bool* kept) {
  __shared__ Word among[kBits];  // who suppresses whom within the current 64
  __shared__ Word staying;
  for (int64_t w = 0; w < words; ++w) {
    const int64_t first = w * kBits;
    const int size = static_cast<int>(min(kBits, count - first));
    if (threadIdx.x < size) among[threadIdx.x] = overlaps[w * count + first + threadIdx.x];
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
      const Word* row = overlaps + later * count + first;
      Word gone = removed[later];
      for (Word rest = staying; rest != 0; rest &= rest - 1) gone |= row[__ffsll(rest) - 1];
      removed[later] = gone;
    }
    __syncthreads();  // `removed` is complete, `among` and `staying` may be overwritten
  }
}

// Writes which of the n shapes, by decreasing score, stay; like: a tensor on their device.
template <typename Shapes>
void suppress(const Tensor& like, int64_t n, const std::optional<Tensor>& category,
              const Shapes& shapes, const Tensor& kept) {
  if (n == 0) return;
  STD_TORCH_CHECK(!category || category->numel() == n, "expected one category per box");
  const int64_t words = (n + kBits - 1) / kBits;
  const Tensor overlaps = torch::stable::new_empty(like, {words * n}, ScalarType::Long);
  const Tensor removed = torch::stable::new_zeros(like, {words}, ScalarType::Long);
  Word* bits = reinterpret_cast<Word*>(overlaps.mutable_data_ptr<int64_t>());
  launch(like, words * n, compare_ranked<Shapes>, n, data_or_null<int64_t>(category), shapes, bits);
  const torch::stable::accelerator::DeviceGuard guard(like.get_device_index());
  scan_ranked<<<1, 1024, 0, current_stream(like)>>>(
      n, words, bits, reinterpret_cast<Word*>(removed.mutable_data_ptr<int64_t>()),
      kept.mutable_data_ptr<bool>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace okulo
