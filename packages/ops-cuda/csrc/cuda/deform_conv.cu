// Samples are gathered into columns, a few images at a time, and multiplied by PyTorch's matrix
// product in the dtype of the input; gradients add up in float32 (float64).
#include "common/deform_conv.h"
#include "common/products.h"
#include "cuda/launch.h"

namespace okulo {
namespace {

constexpr int64_t kBlockBytes = 256 << 20;
constexpr int64_t kRun = 16;  // channels that one thread samples at one place

// All contiguous. Columns are (C, taps, count): row (c, tap), `count` output positions that start
// at `begin`, the index of an image times the area of the output.
template <typename T>
struct Operands {
  DeformConvSizes size;
  const T* input;          // (N, C, H, W)
  const acc_t<T>* offset;  // (N, deform_groups, taps, 2, area)
  const acc_t<T>* mask;    // (N, deform_groups, taps, area) or null
  int64_t begin, count;

  __device__ int64_t runs() const { return (size.deform_channels() + kRun - 1) / kRun; }
};

// One place that a tap samples, for the channels [first, last).
template <typename T>
struct Sample {
  int64_t column, image, position, tap, group, first, last;
  acc_t<T> mask;
  Corners<acc_t<T>> corners;

  // i counts (group of deformation, run of `length` channels, tap, column).
  __device__ Sample(const Operands<T>& in, int64_t i, int64_t runs, int64_t length) {
    using A = acc_t<T>;
    const DeformConvSizes& size = in.size;
    column = i % in.count;
    i /= in.count;
    tap = i % size.taps();
    i /= size.taps();
    group = i / runs;
    const int64_t width = size.deform_channels();
    first = group * width + i % runs * length;
    last = min(first + length, (group + 1) * width);
    image = (in.begin + column) / size.area();
    position = (in.begin + column) % size.area();
    const int64_t at = size.offset_index(image, group, tap, position);
    const A y = static_cast<A>(size.tap_y(position, tap)) + in.offset[at];
    const A x = static_cast<A>(size.tap_x(position, tap)) + in.offset[at + size.area()];
    corners = corners_around(y, x, size.height, size.width);
    mask = in.mask ? in.mask[size.mask_index(image, group, tap, position)] : A(1);
  }

  __device__ int64_t plane(const DeformConvSizes& size, int64_t channel) const {
    return (image * size.channels + channel) * size.height * size.width;
  }
};

template <typename T>
__global__ void gather(int64_t n, Operands<T> in, T* columns) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    const Sample<T> s(in, i, in.runs(), kRun);
    for (int64_t c = s.first; c < s.last; ++c) {
      const T* plane = in.input + s.plane(in.size, c);
      A value = 0;
      for (int k = 0; k < 4; ++k) {
        const int64_t at = s.corners.at[k];
        if (at >= 0) value += s.corners.weight[k] * static_cast<A>(plane[at]);
      }
      columns[(c * in.size.taps() + s.tap) * in.count + s.column] = static_cast<T>(value * s.mask);
    }
  }
}

// slopes: the gradient of the columns.
template <typename T>
__global__ void to_coordinates(int64_t n, Operands<T> in, const T* slopes, acc_t<T>* offset,
                               acc_t<T>* mask) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    const Sample<T> s(in, i, 1, in.size.deform_channels());
    A by_y = 0, by_x = 0, by_mask = 0;
    for (int64_t c = s.first; c < s.last; ++c) {
      const T* plane = in.input + s.plane(in.size, c);
      const A slope = static_cast<A>(slopes[(c * in.size.taps() + s.tap) * in.count + s.column]);
      for (int k = 0; k < 4; ++k) {
        const int64_t at = s.corners.at[k];
        const A value = at >= 0 ? slope * static_cast<A>(plane[at]) : A(0);
        by_y += s.corners.by_y[k] * value;
        by_x += s.corners.by_x[k] * value;
        by_mask += s.corners.weight[k] * value;
      }
    }
    const int64_t at = in.size.offset_index(s.image, s.group, s.tap, s.position);
    offset[at] = by_y * s.mask;
    offset[at + in.size.area()] = by_x * s.mask;
    if (mask) mask[in.size.mask_index(s.image, s.group, s.tap, s.position)] = by_mask;
  }
}

template <typename T>
__global__ void to_input(int64_t n, Operands<T> in, const T* slopes, acc_t<T>* input) {
  using A = acc_t<T>;
  OKULO_CUDA_LOOP(i, n) {
    const Sample<T> s(in, i, in.runs(), kRun);
    for (int64_t c = s.first; c < s.last; ++c) {
      A* plane = input + s.plane(in.size, c);
      const A slope = static_cast<A>(slopes[(c * in.size.taps() + s.tap) * in.count + s.column]);
      for (int k = 0; k < 4; ++k) {
        const int64_t at = s.corners.at[k];
        if (at >= 0) atomicAdd(plane + at, slope * s.mask * s.corners.weight[k]);
      }
    }
  }
}

// (C_out, count) + bias -> (N, C_out, area), from image begin / area on.
template <typename T>
__global__ void spread(int64_t n, DeformConvSizes size, int64_t begin, int64_t count,
                       const T* product, const T* bias, T* result) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t channel = i / count, position = begin + i % count;
    const int64_t row = position / size.area() * size.out_channels + channel;
    const acc_t<T> add = bias ? static_cast<acc_t<T>>(bias[channel]) : acc_t<T>(0);
    result[row * size.area() + position % size.area()] =
        static_cast<T>(static_cast<acc_t<T>>(product[i]) + add);
  }
}

// The inverse, without the bias.
template <typename T>
__global__ void collect(int64_t n, DeformConvSizes size, int64_t begin, int64_t count,
                        const T* grad, T* block) {
  OKULO_CUDA_LOOP(i, n) {
    const int64_t channel = i / count, position = begin + i % count;
    const int64_t row = position / size.area() * size.out_channels + channel;
    block[i] = grad[row * size.area() + position % size.area()];
  }
}

template <typename T>
__global__ void accumulate(int64_t n, const T* values, acc_t<T>* sum) {
  OKULO_CUDA_LOOP(i, n) sum[i] += static_cast<acc_t<T>>(values[i]);
}

// The arguments in the dtype of the input, contiguous, and the sizes of their matrices. Offset and
// mask are in the type that is computed in: float16 would move the samples.
struct Arguments {
  DeformConvSizes size;
  Tensor input, offset;
  std::optional<Tensor> mask;
  Tensor weight;  // (groups, rows, depth)
  std::optional<Tensor> bias;

  int64_t rows() const { return size.out_channels / size.groups; }
  int64_t depth() const { return size.group_channels() * size.taps(); }

  // Whole images whose columns are made together, at least one.
  int64_t block() const {
    const int64_t bytes = size.channels * size.taps() * size.area() * 4;
    return std::max<int64_t>(1, kBlockBytes / std::max<int64_t>(1, bytes)) * size.area();
  }

  template <typename T>
  Operands<T> operands(int64_t begin, int64_t count) const {
    using A = acc_t<T>;
    return {
        size, input.const_data_ptr<T>(), offset.const_data_ptr<A>(), data_or_null<A>(mask), begin,
        count};
  }

  int64_t places(int64_t count) const { return size.deform_groups * size.taps() * count; }
  int64_t run_places(int64_t count) const {
    return places(count) * ((size.deform_channels() + kRun - 1) / kRun);
  }

  Tensor empty(const std::vector<int64_t>& shape) const {
    return torch::stable::new_empty(input, shape);
  }

  Tensor product(const Tensor& a, const Tensor& b) const {
    const Tensor result = empty({size.groups, a.size(1), b.size(2)});
    multiply(a, b, result);
    return result;
  }
};

Arguments arguments(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask,
                    const Tensor& weight, const std::optional<Tensor>& bias, const Pair& stride,
                    const Pair& padding, const Pair& dilation, int64_t groups,
                    int64_t deform_groups) {
  const DeformConvSizes size = deform_conv_sizes(input, offset, mask, weight, bias, stride, padding,
                                                 dilation, groups, deform_groups);
  const ScalarType type = input.scalar_type(), exact = accumulate_type(input);
  const Tensor matrices = torch::stable::reshape(
      as_contiguous(weight, type),
      {groups, size.out_channels / groups, size.group_channels() * size.taps()});
  return {
      size,     contiguous(input),        as_contiguous(offset, exact), as_contiguous(mask, exact),
      matrices, as_contiguous(bias, type)};
}

template <typename T>
void forward(const Arguments& in, const Tensor& result) {
  const int64_t block = in.block(), positions = in.size.positions();
  for (int64_t begin = 0; begin < positions; begin += block) {
    const int64_t count = std::min(block, positions - begin);
    const Tensor columns = in.empty({in.size.groups, in.depth(), count});
    launch(result, in.run_places(count), gather<T>, in.operands<T>(begin, count),
           columns.mutable_data_ptr<T>());
    const Tensor product = in.product(in.weight, columns);
    launch(result, product.numel(), spread<T>, in.size, begin, count, product.const_data_ptr<T>(),
           data_or_null<T>(in.bias), result.mutable_data_ptr<T>());
  }
}

// Of everything but the bias; input and weight are zeros that sums are added to.
struct Gradients {
  Tensor input, offset, mask, weight;
};

template <typename T>
void backward(const Arguments& in, const Tensor& grad, const Gradients& to) {
  using A = acc_t<T>;
  const int64_t block = in.block(), positions = in.size.positions();
  for (int64_t begin = 0; begin < positions; begin += block) {
    const int64_t count = std::min(block, positions - begin);
    const Operands<T> operands = in.operands<T>(begin, count);
    const Tensor part = in.empty({in.size.groups, in.rows(), count});
    launch(grad, part.numel(), collect<T>, in.size, begin, count, grad.const_data_ptr<T>(),
           part.mutable_data_ptr<T>());
    const Tensor slopes = in.product(transposed(in.weight), part);
    const T* slope = slopes.const_data_ptr<T>();
    launch(grad, in.places(count), to_coordinates<T>, operands, slope,
           to.offset.mutable_data_ptr<A>(), in.mask ? to.mask.mutable_data_ptr<A>() : nullptr);
    launch(grad, in.run_places(count), to_input<T>, operands, slope,
           to.input.mutable_data_ptr<A>());
    const Tensor columns = in.empty({in.size.groups, in.depth(), count});
    launch(grad, in.run_places(count), gather<T>, operands, columns.mutable_data_ptr<T>());
    const Tensor product = in.product(part, transposed(columns));
    launch(grad, product.numel(), accumulate<T>, product.const_data_ptr<T>(),
           to.weight.mutable_data_ptr<A>());
  }
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask,
                     const Tensor& weight, const std::optional<Tensor>& bias, const Pair& stride,
                     const Pair& padding, const Pair& dilation, int64_t groups,
                     int64_t deform_groups) {
  const Arguments in = arguments(input, offset, mask, weight, bias, stride, padding, dilation,
                                 groups, deform_groups);
  const DeformConvSizes& size = in.size;
  const Tensor result = in.empty({size.batch, size.out_channels, size.out_height, size.out_width});
  dispatch_floating(in.input, "deform_conv2d",
                    [&](auto zero) { forward<decltype(zero)>(in, result); });
  return result;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward(
    const Tensor& grad, const Tensor& input, const Tensor& offset,
    const std::optional<Tensor>& mask, const Tensor& weight, const std::optional<Tensor>& bias,
    const Pair& stride, const Pair& padding, const Pair& dilation, int64_t groups,
    int64_t deform_groups) {
  const Arguments in = arguments(input, offset, mask, weight, bias, stride, padding, dilation,
                                 groups, deform_groups);
  const Tensor slope = as_contiguous(grad, input.scalar_type());
  const Tensor none = torch::stable::new_empty(grad, {0});
  const ScalarType sums = accumulate_type(input);
  const Gradients to{torch::stable::new_zeros(in.input, {in.input.numel()}, sums),
                     torch::stable::empty_like(in.offset),
                     in.mask ? torch::stable::empty_like(*in.mask) : none,
                     torch::stable::new_zeros(in.weight, {in.weight.numel()}, sums)};
  dispatch_floating(in.input, "deform_conv2d_backward",
                    [&](auto zero) { backward<decltype(zero)>(in, slope, to); });
  const std::vector<int64_t> but_channels{0, 2, 3};
  const auto shaped = [](const Tensor& sum, const Tensor& like) {
    const std::vector<int64_t> shape{like.size(0), like.size(1), like.size(2), like.size(3)};
    return torch::stable::to(torch::stable::reshape(sum, shape), like.scalar_type());
  };
  return {shaped(to.input, input), torch::stable::to(to.offset, offset.scalar_type()),
          mask ? torch::stable::to(to.mask, mask->scalar_type()) : none, shaped(to.weight, weight),
          bias ? torch::stable::to(torch::stable::sum(slope, but_channels), bias->scalar_type())
               : none};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

}  // namespace okulo
