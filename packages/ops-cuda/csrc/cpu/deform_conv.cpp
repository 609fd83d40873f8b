// Samples are gathered channels-last into columns, a block of output positions at a time, and
// multiplied by PyTorch's matrix product; memory stays flat whatever the size of the image. Every
// number is computed in float32 or float64: conversions are nothing beside the product.
#include "common/deform_conv.h"

#include "common/products.h"
#include "cpu/parallel.h"

namespace okulo {
namespace {

constexpr int64_t kBlockBytes = 16 << 20;

// Everything in the type A that is computed in, and contiguous.
struct Operands {
  DeformConvSizes size;
  Tensor input;   // (N, H, W, C)
  Tensor offset;  // (N, deform_groups, taps, 2, area)
  std::optional<Tensor> mask;
  Tensor weight;  // (groups, C_out / groups, taps * C / groups), channels last

  int64_t depth() const { return size.taps() * size.group_channels(); }
  int64_t block() const {  // output positions whose columns are made together
    const int64_t bytes = size.taps() * size.channels * 8;
    return std::clamp<int64_t>(kBlockBytes / std::max<int64_t>(bytes, 1), 64, 4096);
  }
};

Operands operands(const DeformConvSizes& size, const Tensor& input, const Tensor& offset,
                  const std::optional<Tensor>& mask, const Tensor& weight) {
  const ScalarType type = accumulate_type(input);
  const Tensor taps_last = torch::stable::reshape(
      weight, {size.groups, size.out_channels / size.groups, size.group_channels(), size.taps()});
  const Tensor matrices = as_contiguous(torch::stable::transpose(taps_last, 2, 3), type);
  return {size, channels_last(input, type), as_contiguous(offset, type), as_contiguous(mask, type),
          torch::stable::flatten(matrices, 2, 3)};
}

template <typename A>
void add(const A* values, int64_t count, A* to) {
  constexpr int64_t kStep = 4096;
  parallel_rows((count + kStep - 1) / kStep, kStep, [=](int64_t i) {
    const int64_t end = std::min(count, (i + 1) * kStep);
    for (int64_t j = i * kStep; j < end; ++j) to[j] += values[j];
  });
}

template <typename A>
class Sampler {
 public:
  explicit Sampler(const Operands& in)
      : size_(in.size),
        block_(in.block()),
        input_(in.input.const_data_ptr<A>()),
        offset_(in.offset.const_data_ptr<A>()),
        mask_(data_or_null<A>(in.mask)),
        outside_(in.size.channels, A(0)) {}

  // columns (groups, block, taps * group channels) of the output positions begin + [0, count).
  void gather(int64_t begin, int64_t count, A* columns) const {
    parallel_rows(count, size_.taps() * size_.channels, [&](int64_t i) {
      each_sample(begin + i, 0, size_.channels, [&](const Sample& s) {
        A scale[4];
        for (int k = 0; k < 4; ++k) scale[k] = s.mask * s.corners.weight[k];
        const A *a = pixel(s, 0), *b = pixel(s, 1), *c = pixel(s, 2), *d = pixel(s, 3);
        each_run(s, i, [&](int64_t from, int64_t length, int64_t column) {
          A* out = columns + column;
          for (int64_t j = 0; j < length; ++j) {
            out[j] = scale[0] * a[from + j] + scale[1] * b[from + j] + scale[2] * c[from + j] +
                     scale[3] * d[from + j];
          }
        });
      });
    });
  }

  // The gradient of the columns, to that of offset and mask (or null).
  void coordinates(int64_t begin, int64_t count, const A* columns, A* offset, A* mask) const {
    parallel_rows(count, 2 * size_.taps() * size_.channels, [&](int64_t i) {
      each_sample(begin + i, 0, size_.channels, [&](const Sample& s) {
        const A *a = pixel(s, 0), *b = pixel(s, 1), *c = pixel(s, 2), *d = pixel(s, 3);
        A of[4] = {0, 0, 0, 0};  // derivative by the weight of each corner
        each_run(s, i, [&](int64_t from, int64_t length, int64_t column) {
          const A* grad = columns + column;
          A w = 0, x = 0, y = 0, z = 0;
#pragma omp simd reduction(+ : w, x, y, z)
          for (int64_t j = 0; j < length; ++j) {
            w += grad[j] * a[from + j];
            x += grad[j] * b[from + j];
            y += grad[j] * c[from + j];
            z += grad[j] * d[from + j];
          }
          of[0] += w, of[1] += x, of[2] += y, of[3] += z;
        });
        A by_y = 0, by_x = 0, by_mask = 0;
        for (int k = 0; k < 4; ++k) {
          by_y += s.corners.by_y[k] * of[k];
          by_x += s.corners.by_x[k] * of[k];
          by_mask += s.corners.weight[k] * of[k];
        }
        offset[s.offset] = s.mask * by_y;
        offset[s.offset + size_.area()] = s.mask * by_x;
        if (mask) mask[size_.mask_index(s.image, s.group, s.tap, s.position)] = by_mask;
      });
    });
  }

  // The gradient of the columns, added to that of the channels-last input. Threads share out the
  // channels, so every pixel adds up in the same order however many they are.
  void scatter(int64_t begin, int64_t count, const A* columns, A* input) const {
    torch::stable::parallel_for(0, size_.channels, 32, [&](int64_t first, int64_t last) {
      for (int64_t i = 0; i < count; ++i) {
        each_sample(begin + i, first, last, [&](const Sample& s) {
          for (int k = 0; k < 4; ++k) {
            if (s.corners.at[k] < 0) continue;
            const A scale = s.mask * s.corners.weight[k];
            A* to = input + pixel_index(s, k);
            each_run(s, i, [&](int64_t from, int64_t length, int64_t column) {
              for (int64_t j = 0; j < length; ++j) to[from + j] += scale * columns[column + j];
            });
          }
        });
      }
    });
  }

 private:
  struct Sample {
    Corners<A> corners;
    A mask;
    int64_t image, position, tap, group;  // group: of deformation
    int64_t first, last;                  // channels
    int64_t offset;                       // index of its vertical displacement
  };

  // f(sample) for each tap and group of deformation that has channels in [first, last).
  template <typename F>
  void each_sample(int64_t index, int64_t first, int64_t last, const F& f) const {
    Sample s;
    s.image = index / size_.area();
    s.position = index % size_.area();
    const int64_t width = size_.deform_channels();
    for (s.group = first / width; s.group * width < last; ++s.group) {
      s.first = std::max(first, s.group * width);
      s.last = std::min(last, (s.group + 1) * width);
      for (s.tap = 0; s.tap < size_.taps(); ++s.tap) {
        s.offset = size_.offset_index(s.image, s.group, s.tap, s.position);
        const A y = static_cast<A>(size_.tap_y(s.position, s.tap)) + offset_[s.offset];
        const A x =
            static_cast<A>(size_.tap_x(s.position, s.tap)) + offset_[s.offset + size_.area()];
        s.corners = corners_around(y, x, size_.height, size_.width);
        s.mask = mask_ ? mask_[size_.mask_index(s.image, s.group, s.tap, s.position)] : A(1);
        f(s);
      }
    }
  }

  // f(first channel, how many, index of the first in columns) for the channels of a sample that
  // lie together in the columns of block row i: those of one group of the convolution.
  template <typename F>
  void each_run(const Sample& s, int64_t i, const F& f) const {
    const int64_t width = size_.group_channels();
    for (int64_t from = s.first; from < s.last;) {
      const int64_t group = from / width;
      const int64_t stop = std::min(s.last, (group + 1) * width);
      const int64_t row = (group * block_ + i) * size_.taps() + s.tap;
      f(from, stop - from, row * width + from % width);
      from = stop;
    }
  }

  int64_t pixel_index(const Sample& s, int corner) const {
    return (s.image * size_.height * size_.width + s.corners.at[corner]) * size_.channels;
  }

  // The channels of a corner; zeros outside of the image, which keeps the loops free of branches.
  const A* pixel(const Sample& s, int corner) const {
    return s.corners.at[corner] < 0 ? outside_.data() : input_ + pixel_index(s, corner);
  }

  DeformConvSizes size_;
  int64_t block_;
  const A* input_;
  const A* offset_;
  const A* mask_;
  std::vector<A> outside_;
};

// f(channel, index in (C_out, block), index in (N, C_out, area), length) for stretches of the
// output positions begin + [0, count) that lie together in both.
template <typename F>
void each_stretch(const Operands& in, int64_t begin, int64_t count, const F& f) {
  const DeformConvSizes& size = in.size;
  parallel_rows(size.out_channels, count, [&](int64_t channel) {
    for (int64_t i = 0; i < count;) {
      const int64_t image = (begin + i) / size.area(), p = (begin + i) % size.area();
      const int64_t length = std::min(count - i, size.area() - p);
      const int64_t row = image * size.out_channels + channel;
      f(channel, channel * in.block() + i, row * size.area() + p, length);
      i += length;
    }
  });
}

template <typename A>
void forward(const Operands& in, const std::optional<Tensor>& bias, const Tensor& result) {
  const DeformConvSizes& size = in.size;
  const Sampler<A> sampler(in);
  const int64_t block = in.block(), rows = size.out_channels / size.groups;
  const Tensor columns = torch::stable::new_empty(in.input, {size.groups, block, in.depth()});
  const Tensor product = torch::stable::new_empty(in.input, {size.groups, rows, block});
  const A* from = product.const_data_ptr<A>();
  const A* shift = data_or_null<A>(bias);
  A* out = result.mutable_data_ptr<A>();
  for (int64_t begin = 0; begin < size.positions(); begin += block) {
    const int64_t count = std::min(block, size.positions() - begin);
    sampler.gather(begin, count, columns.mutable_data_ptr<A>());
    for (int64_t g = 0; g < size.groups; ++g) {
      multiply(matrix(in.weight, g), transposed(rows_of(columns, g, count)),
               columns_of(product, g, count));
    }
    each_stretch(in, begin, count, [=](int64_t channel, int64_t i, int64_t o, int64_t length) {
      const A add = shift ? shift[channel] : A(0);
      for (int64_t j = 0; j < length; ++j) out[o + j] = from[i + j] + add;
    });
  }
}

// Of everything but the bias; mask is null where there is none. All but offset and mask are zero.
struct Gradients {
  Tensor input, offset, mask, weight;
};

template <typename A>
void backward(const Operands& in, const Tensor& grad, const Gradients& to) {
  const DeformConvSizes& size = in.size;
  const Sampler<A> sampler(in);
  const int64_t block = in.block(), rows = size.out_channels / size.groups;
  const Tensor columns = torch::stable::new_empty(in.input, {size.groups, block, in.depth()});
  const Tensor slopes = torch::stable::new_empty(in.input, {size.groups, block, in.depth()});
  const Tensor grads = torch::stable::new_empty(in.input, {size.groups, rows, block});
  const Tensor product = torch::stable::new_empty(in.input, {rows, in.depth()});
  const A* from = grad.const_data_ptr<A>();
  A* gathered = grads.mutable_data_ptr<A>();
  for (int64_t begin = 0; begin < size.positions(); begin += block) {
    const int64_t count = std::min(block, size.positions() - begin);
    sampler.gather(begin, count, columns.mutable_data_ptr<A>());
    each_stretch(in, begin, count, [=](int64_t, int64_t i, int64_t o, int64_t length) {
      std::copy_n(from + o, length, gathered + i);
    });
    for (int64_t g = 0; g < size.groups; ++g) {
      const Tensor part = columns_of(grads, g, count);
      multiply(transposed(part), matrix(in.weight, g), rows_of(slopes, g, count));
      multiply(part, rows_of(columns, g, count), product);
      add(product.const_data_ptr<A>(), product.numel(),
          to.weight.mutable_data_ptr<A>() + g * product.numel());
    }
    const A* slope = slopes.const_data_ptr<A>();
    sampler.coordinates(begin, count, slope, to.offset.mutable_data_ptr<A>(),
                        in.mask ? to.mask.mutable_data_ptr<A>() : nullptr);
    sampler.scatter(begin, count, slope, to.input.mutable_data_ptr<A>());
  }
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask,
                     const Tensor& weight, const std::optional<Tensor>& bias, const Pair& stride,
                     const Pair& padding, const Pair& dilation, int64_t groups,
                     int64_t deform_groups) {
  const DeformConvSizes size = deform_conv_sizes(input, offset, mask, weight, bias, stride, padding,
                                                 dilation, groups, deform_groups);
  const Operands in = operands(size, input, offset, mask, weight);
  const std::optional<Tensor> shift = as_contiguous(bias, accumulate_type(input));
  const Tensor result = torch::stable::new_empty(
      in.input, {size.batch, size.out_channels, size.out_height, size.out_width});
  if (accumulate_type(input) == ScalarType::Double) {
    forward<double>(in, shift, result);
  } else {
    forward<float>(in, shift, result);
  }
  return torch::stable::to(result, input.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward(
    const Tensor& grad, const Tensor& input, const Tensor& offset,
    const std::optional<Tensor>& mask, const Tensor& weight, const std::optional<Tensor>& bias,
    const Pair& stride, const Pair& padding, const Pair& dilation, int64_t groups,
    int64_t deform_groups) {
  const DeformConvSizes size = deform_conv_sizes(input, offset, mask, weight, bias, stride, padding,
                                                 dilation, groups, deform_groups);
  const Operands in = operands(size, input, offset, mask, weight);
  const Tensor slope = as_contiguous(grad, accumulate_type(input));
  const Tensor none = torch::stable::new_empty(grad, {0});
  const Gradients to{
      torch::stable::new_zeros(in.input, {size.batch, size.height, size.width, size.channels}),
      torch::stable::empty_like(in.offset), in.mask ? torch::stable::empty_like(*in.mask) : none,
      torch::stable::new_zeros(in.input, {size.groups, size.out_channels / size.groups, size.taps(),
                                          size.group_channels()})};
  if (accumulate_type(input) == ScalarType::Double) {
    backward<double>(in, slope, to);
  } else {
    backward<float>(in, slope, to);
  }
  const Tensor by_input = torch::stable::transpose(torch::stable::transpose(to.input, 2, 3), 1, 2);
  const Tensor by_weight = torch::stable::reshape(
      torch::stable::transpose(to.weight, 2, 3),
      {size.out_channels, size.group_channels(), size.kernel_height, size.kernel_width});
  const std::array<int64_t, 3> but_channels{0, 2, 3};
  return {as_contiguous(by_input, input.scalar_type()),
          torch::stable::to(to.offset, offset.scalar_type()),
          mask ? torch::stable::to(to.mask, mask->scalar_type()) : none,
          as_contiguous(by_weight, weight.scalar_type()),
          bias ? torch::stable::to(torch::stable::sum(slope, but_channels), bias->scalar_type())
               : none};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

}  // namespace okulo
