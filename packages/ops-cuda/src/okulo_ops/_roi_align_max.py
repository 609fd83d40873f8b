"""ROIAlign by the maximum of bilinear samples instead of their mean."""

import torch
from torch import Tensor

from okulo_ops._checks import in_float32
from okulo_ops._operator import define
from okulo_ops._roi_sampling import AxisSamples, accumulate_rois, sample_axis

__all__ = ["align_max"]


def align_max(input: Tensor, rois: Tensor, *settings: float | bool) -> Tensor:
    """Maximum of the samples of each bin; arguments as those of the operator, all checked."""
    return _align_max(input, rois, *settings)[0]  # type: ignore[no-any-return]


def _meaning(
    input: Tensor,
    rois: Tensor,
    scale: float,
    height: int,
    width: int,
    ratio: int,
    aligned: bool,
) -> tuple[Tensor, Tensor]:
    rois = accumulate_rois(rois, input)
    pooled = rois.new_zeros(len(rois), input.shape[1], height, width)
    best = torch.full(pooled.shape, -1, dtype=torch.int64, device=rois.device)
    rows, parts, indices = [], [], []
    for image in range(len(input)):
        feature = in_float32(input[image])
        for row in (rois[:, 0].long() == image).nonzero()[:, 0].split(16):  # bounds the memory
            y0, y1 = rois[row, 2], rois[row, 4]
            x0, x1 = rois[row, 1], rois[row, 3]
            y = sample_axis(y0, y1, scale, height, ratio, aligned, input.shape[2])
            x = sample_axis(x0, x1, scale, width, ratio, aligned, input.shape[3])
            part, index = _largest_sample(feature, y, x)
            rows.append(row)
            parts.append(part)
            indices.append(index)
    if rows:
        pooled = pooled.index_copy(0, torch.cat(rows), torch.cat(parts))
        best = best.index_copy(0, torch.cat(rows), torch.cat(indices))
    return pooled.to(input.dtype), best


def _largest_sample(feature: Tensor, y: AxisSamples, x: AxisSamples) -> tuple[Tensor, Tensor]:
    """Value and number of the largest sample of a bin; -1 if one outside, zero, is larger."""
    inside = y.inside[:, :, :, None, None] & x.inside[:, None, None]  # (k, h, S, w, S)
    numbers = y.number[:, :, :, None, None] * x.total[:, None, None, None, None]
    numbers = (numbers + x.number[:, None, None]).transpose(2, 3).flatten(3)
    reading = inside.transpose(2, 3).flatten(3)  # (k, h, w, S * S)
    missing = reading.sum(dim=3) < (y.total * x.total)[:, None, None]
    if reading.shape[3] == 0 or feature.numel() == 0:
        shape = len(reading), len(feature), *reading.shape[1:3]
        return feature.new_zeros(shape) * feature.sum(), numbers.new_full(shape, -1)
    values = _bilinear(feature, y, x).transpose(3, 4).flatten(4).transpose(0, 1)
    values = torch.where(reading[:, None], values, -torch.inf)  # (k, c, h, w, S * S)
    value, at = values.max(dim=4)
    number = numbers[:, None].expand(-1, len(feature), -1, -1, -1).gather(4, at[..., None])[..., 0]
    none = ~reading.any(dim=3)[:, None] | (missing[:, None] & (value < 0))
    return torch.where(none, 0, value), torch.where(none, -1, number)


def _bilinear(feature: Tensor, y: AxisSamples, x: AxisSamples) -> Tensor:
    """(C, k, h, S, w, S) samples; the order of the sum is that of the kernels."""
    y_low, y_high, top, bottom = (t[:, :, :, None, None] for t in y.taps())
    x_low, x_high, left, right = (t[:, None, None] for t in x.taps())
    return (
        top * left * feature[:, y_low, x_low]
        + top * right * feature[:, y_low, x_high]
        + bottom * left * feature[:, y_high, x_low]
        + bottom * right * feature[:, y_high, x_high]
    )


def _fake(
    input: Tensor, rois: Tensor, _: float, height: int, width: int, *__: int
) -> tuple[Tensor, Tensor]:
    shape = rois.shape[0], input.shape[1], height, width
    return input.new_empty(shape), input.new_empty(shape, dtype=torch.int64)


_align_max = define(
    "roi_align_max(Tensor input, Tensor rois, float spatial_scale, int height, int width,"
    " int sampling_ratio, bool aligned) -> (Tensor, Tensor)",
    _meaning,
    _fake,
    gradient=["input"],
    saved=1,
)
