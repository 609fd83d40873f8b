"""Precise RoI pooling: exact means of the bilinear surface (https://arxiv.org/abs/1807.11590)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from okulo_ops._operator import define
from okulo_ops._sampling import (
    check_features,
    check_rois,
    computed_in,
    height_and_width,
    sum_of_pixels,
)

__all__ = ["prroi_pool", "PrRoIPool"]


def prroi_pool(
    features: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Pool boxes into bins, each the exact mean of the features over it.

    The features are continued bilinearly between indices, the one at index i stands at i, and
    linearly to 0 within one pixel of the map. Nothing is sampled, so that the result is
    differentiable by the boxes too.

    Args:
        features: (N, C, H, W) floating.
        rois: (K, 5) floating rows (index into the batch, x0, y0, x1, y1) in pixels of the image. A
            box without area, x1 <= x0 or y1 <= y0, pools zeros.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.

    Returns:
        (K, C, height, width), dtype of ``features``; float16 and bfloat16 are computed in float32.
        The gradient flows to ``features`` and to the coordinates of ``rois``.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch or is
            not finite (checked on the CPU; a GPU would have to wait for it).
    """
    check_features("features", features)
    check_rois(features, rois, columns=5, finite=slice(1, 5))
    size = height_and_width(output_size)
    return _operator(features, rois.to(computed_in(features)), *size, spatial_scale)  # type: ignore[no-any-return]


class PrRoIPool(nn.Module):
    """:func:`prroi_pool` with its settings."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = height_and_width(output_size)
        self.spatial_scale = spatial_scale

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        return prroi_pool(features, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


def _meaning(
    features: Tensor, rois: Tensor, height: int, width: int, spatial_scale: float
) -> Tensor:
    image = rois[:, 0].detach().long()
    boxes = rois[:, 1:].to(computed_in(features)) * spatial_scale
    columns = _edges(boxes[:, 0], boxes[:, 2], width)[:, None].expand(-1, height, -1, -1)
    rows = _edges(boxes[:, 1], boxes[:, 3], height)[:, :, None].expand(-1, -1, width, -1)
    x, y = columns.flatten(0, 2), rows.flatten(0, 2)  # start and end of every bin
    x_first, x_count = _touched(x, features.shape[3])
    y_first, y_count = _touched(y, features.shape[2])
    count = torch.where((x[:, 1] > x[:, 0]) & (y[:, 1] > y[:, 0]), x_count * y_count, 0)
    bins = torch.arange(len(count), device=rois.device).repeat_interleave(count)
    step = torch.arange(len(bins), device=rois.device) - (count.cumsum(0) - count)[bins]
    row = y_first[bins] + step // x_count[bins]
    column = x_first[bins] + step % x_count[bins]

    def taps() -> Iterator[tuple[Tensor, Tensor]]:
        yield row * features.shape[3] + column, _share(y[bins], row) * _share(x[bins], column)

    sums = sum_of_pixels(features, image[bins // (height * width)], taps(), bins, len(count))
    pooled = sums.unflatten(0, (len(rois), height, width)).permute(0, 3, 1, 2)
    return pooled.to(features.dtype)


def _edges(low: Tensor, high: Tensor, bins: int) -> Tensor:
    """Start and end of each bin of intervals: (K, bins, 2)."""
    step = (high - low)[:, None] / bins
    index = torch.arange(bins, device=low.device).to(low.dtype)
    return torch.stack((low[:, None] + index * step, low[:, None] + (index + 1) * step), dim=2)


def _touched(edges: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First feature within one pixel of each interval (S, 2), and how many there are."""
    start, end = edges.detach().clamp(-2, size + 2).unbind(1)
    first = start.floor().long().clamp(0, size)
    last = end.ceil().long().clamp(-1, size - 1)
    return first, (last - first + 1).clamp(min=0)


def _share(edges: Tensor, index: Tensor) -> Tensor:
    """Mean over intervals (S, 2) of the hat that is 1 at ``index`` and 0 from one pixel off."""
    start, end = (edges - index[:, None]).unbind(1)
    before, until = start.clamp(-1, 0), end.clamp(-1, 0)
    after, beyond = start.clamp(0, 1), end.clamp(0, 1)
    rising = (until - before) * (1 + (before + until) / 2)
    falling = (beyond - after) * (1 - (after + beyond) / 2)
    return (rising + falling) / (end - start)


_operator = define(
    "prroi_pool(Tensor features, Tensor rois, int height, int width, float spatial_scale)"
    " -> Tensor",
    _meaning,
    lambda features, rois, height, width, _: features.new_empty(
        rois.shape[0], features.shape[1], height, width
    ),
    gradient=["features", "rois"],
)
