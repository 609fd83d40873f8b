// One block of threads takes box after box: each choice depends on all before it.
#include <tuple>

#include "common/boxes.h"
#include "common/soft_nms.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int kWarp = 32;
constexpr int kBlock = kWarp * kWarp;  // so that one warp can compare the results of all
constexpr unsigned kAll = 0xffffffff;

template <typename A>
struct Candidate {
  A score = 0;
  int64_t index = -1;  // none

  __device__ bool goes_before(const Candidate& other) const {
    if (index < 0 || other.index < 0) return index >= 0;
    if (before(score, other.score)) return true;
    return !before(other.score, score) && index < other.index;
  }
  __device__ void prefer(const Candidate& other) {
    if (other.goes_before(*this)) *this = other;
  }
};

template <typename A>
__device__ Candidate<A> best_of_warp(Candidate<A> mine) {
  for (int other = kWarp / 2; other > 0; other /= 2) {
    Candidate<A> theirs;
    theirs.score = __shfl_xor_sync(kAll, mine.score, other);
    theirs.index = __shfl_xor_sync(kAll, mine.index, other);
    mine.prefer(theirs);
  }
  return mine;
}

// The best of the block, in all of its threads; of_warp: shared, one for each warp.
template <typename A>
__device__ Candidate<A> best_of_block(Candidate<A> mine, A* score, int64_t* index) {
  mine = best_of_warp(mine);
  score[threadIdx.x / kWarp] = mine.score;
  index[threadIdx.x / kWarp] = mine.index;
  __syncthreads();
  mine.score = score[threadIdx.x % kWarp];
  mine.index = index[threadIdx.x % kWarp];
  __syncthreads();  // read, the next round may write
  return best_of_warp(mine);
}

template <typename T>
struct Boxes {
  const T *rows, *score;
  const int64_t* category;  // or null
  int64_t n;
  acc_t<T> offset;

  __device__ Box<acc_t<T>> box(int64_t i) const { return load_box<acc_t<T>>(rows + 4 * i); }
  __device__ acc_t<T> iou(const Box<acc_t<T>>& a, const Box<acc_t<T>>& b) const {
    const acc_t<T> shared = shared_area(a, b, offset);
    return shared / (box_area(a, offset) + box_area(b, offset) - shared);
  }
  __device__ bool compared(int64_t i, int64_t j) const {
    return category == nullptr || category[i] == category[j];
  }
};

// One block; thread t keeps the scores left and the marks gone (zeros at first) of boxes t,
// t + kBlock ... to itself.
template <typename T>
__global__ void __launch_bounds__(kBlock)
    choose(Boxes<T> boxes, Settings settings, acc_t<T>* left, bool* gone, T* values, int64_t* order,
           int64_t* count) {
  using A = acc_t<T>;
  __shared__ A scores[kWarp];
  __shared__ int64_t indices[kWarp];
  const A min_score = static_cast<A>(settings.min_score);
  Candidate<A> mine;
  for (int64_t i = threadIdx.x; i < boxes.n; i += kBlock) {
    left[i] = static_cast<A>(boxes.score[i]);
    mine.prefer({left[i], i});
  }
  int64_t taken = 0;
  for (;; ++taken) {
    const Candidate<A> best = best_of_block(mine, scores, indices);
    if (best.index < 0) break;
    if (threadIdx.x == 0) {
      values[taken] = static_cast<T>(best.score);
      order[taken] = best.index;
    }
    const Box<A> chosen = boxes.box(best.index);
    mine = {};
    for (int64_t i = threadIdx.x; i < boxes.n; i += kBlock) {
      if (gone[i]) continue;
      const bool touched = boxes.compared(i, best.index);
      if (touched) left[i] *= decay(boxes.iou(boxes.box(i), chosen), settings);
      gone[i] = i == best.index || left[i] < min_score;
      if (!gone[i]) mine.prefer({left[i], i});
    }
  }
  if (threadIdx.x == 0) *count = taken;
}

// The one number in `count`; waits for the GPU.
int64_t on_host(const Tensor& count) {
  int64_t value = 0;
  const cudaStream_t stream = current_stream(count);
  STD_CUDA_CHECK(cudaMemcpyAsync(&value, count.const_data_ptr<int64_t>(), sizeof(value),
                                 cudaMemcpyDeviceToHost, stream));
  STD_CUDA_CHECK(cudaStreamSynchronize(stream));
  return value;
}

std::tuple<Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores,
                                    const std::optional<Tensor>& idxs, double iou_threshold,
                                    double sigma, double min_score, int64_t method,
                                    int64_t offset) {
  const Tensor b = contiguous(boxes), s = contiguous(scores);
  const std::optional<Tensor> category = contiguous(idxs);
  const int64_t n = b.numel() / 4;
  STD_TORCH_CHECK(
      s.numel() == n && (!category || category->numel() == n) && s.scalar_type() == b.scalar_type(),
      "expected a score of the boxes' dtype, and a category, per box");
  const Tensor left = torch::stable::new_empty(s, {n}, accumulate_type(s));
  const Tensor gone = torch::stable::new_zeros(s, {n}, ScalarType::Bool);
  const Tensor values = torch::stable::new_empty(s, {n});
  const Tensor order = torch::stable::new_empty(s, {n}, ScalarType::Long);
  const Tensor count = torch::stable::new_empty(s, {1}, ScalarType::Long);
  const torch::stable::accelerator::DeviceGuard guard(b.get_device_index());
  dispatch_floating(b, "soft_nms", [&](auto zero) {
    using T = decltype(zero);
    const Boxes<T> all{b.const_data_ptr<T>(), s.const_data_ptr<T>(),
                       data_or_null<int64_t>(category), n, static_cast<acc_t<T>>(offset)};
    choose<T><<<1, kBlock, 0, current_stream(b)>>>(
        all, {iou_threshold, sigma, min_score, method}, left.mutable_data_ptr<acc_t<T>>(),
        gone.mutable_data_ptr<bool>(), values.mutable_data_ptr<T>(),
        order.mutable_data_ptr<int64_t>(), count.mutable_data_ptr<int64_t>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  });
  const int64_t taken = on_host(count);
  Tensor whole_values = values, whole_order = order;
  return {torch::stable::narrow(whole_values, 0, 0, taken),
          torch::stable::narrow(whole_order, 0, 0, taken)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) { m.impl("soft_nms", TORCH_BOX(&soft_nms)); }

}  // namespace okulo
