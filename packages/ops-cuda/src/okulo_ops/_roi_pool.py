"""RoIPool: the maximum over the cells of each bin (https://arxiv.org/abs/1504.08083)."""

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating
from okulo_ops._operator import define
from okulo_ops._roi_sampling import accumulate_rois
from okulo_ops._sampling import check_rois, height_and_width

__all__ = ["RoIPool", "pool_cells", "roi_pool"]


def roi_pool(
    input: Tensor,
    boxes: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Pool each box of a feature map, rounded to whole cells, into a grid of fixed size.

    The corners are scaled and rounded, the last cell counts: a box has at least one cell. Bins
    reach from the floor to the ceiling of their borders and so may share cells.

    Args:
        input: (N, C, H, W) floating.
        boxes: (K, 5) rows (index into the batch, x0, y0, x1, y1) in pixels of the image. They are
            kept in float32 for features in half precision.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.

    Returns:
        (K, C, height, width), dtype of ``input``; 0 in bins outside the map. The gradient flows to
        ``input`` only, of equal cells to the first.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch (checked
            on the CPU; a GPU would have to wait for it, such a box is zero there).
    """
    return pool_cells(input, boxes, output_size, spatial_scale, rounded=True)


class RoIPool(nn.Module):
    """:func:`roi_pool` with its settings."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


def pool_cells(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    rounded: bool,
) -> Tensor:
    """RoIPool of boxes with rounded corners, or of boxes as they are: [x0, x1 + 1) scaled."""
    check_floating("input", input, ("N", "C", "H", "W"))
    check_rois(input, rois, columns=5)
    height, width = height_and_width(output_size)
    rois = accumulate_rois(rois, input)
    pooled = _operator(input, rois, spatial_scale, height, width, rounded)[0]
    return pooled  # type: ignore[no-any-return]


def _meaning(
    input: Tensor, rois: Tensor, scale: float, height: int, width: int, rounded: bool
) -> tuple[Tensor, Tensor]:
    rois = accumulate_rois(rois, input)
    pooled = input.new_zeros(len(rois), input.shape[1], height, width)
    best = torch.full(pooled.shape, -1, dtype=torch.int64, device=rois.device)
    rows, parts, cells = [], [], []
    for image in range(len(input)):
        for row in (rois[:, 0].long() == image).nonzero()[:, 0].split(16):  # bounds the memory
            x0, y0, x1, y1 = rois[row, 1:].unbind(dim=1)
            y = _cells(y0, y1, scale, height, rounded, input.shape[2])
            x = _cells(x0, x1, scale, width, rounded, input.shape[3])
            part, cell = _largest(input[image], *y, *x)
            rows.append(row)
            parts.append(part)
            cells.append(cell)
    if rows:
        pooled = pooled.index_copy(0, torch.cat(rows), torch.cat(parts))
        best = best.index_copy(0, torch.cat(rows), torch.cat(cells))
    return pooled, best


def _cells(
    low: Tensor, high: Tensor, scale: float, bins: int, rounded: bool, cells: int
) -> tuple[Tensor, Tensor]:
    """Cells of each bin along one axis, (K, bins, S) int64, and which of them exist."""
    if rounded:
        base = _round(low * scale)
        start = torch.zeros_like(base)
        size = (_round(high * scale) - base + 1).clamp(min=1)
    else:
        start = low * scale
        base = torch.zeros_like(start)
        size = (high + 1) * scale - start
    base, start, bin_size = base[:, None], start[:, None], (size / bins)[:, None]
    i = torch.arange(bins, device=low.device)
    first = base + (i * bin_size + start).floor()
    last = base + ((i + 1) * bin_size + start).ceil()
    # Twice: NaN, which the first leaves, becomes the smallest integer.
    first, last = (t.clamp(0, cells).long().clamp(min=0) for t in (first, last))
    most = int((last - first).amax().clamp(min=0)) if first.numel() else 0
    at = first[..., None] + torch.arange(most, device=low.device)
    return at.clamp(max=max(cells - 1, 0)), (at < last[..., None]) & (bin_size > 0)[..., None]


def _round(value: Tensor) -> Tensor:
    """To whole cells, halves away from zero."""
    return torch.where(value < 0, -(0.5 - value).floor(), (value + 0.5).floor())


def _largest(
    feature: Tensor, y: Tensor, y_exists: Tensor, x: Tensor, x_exists: Tensor
) -> tuple[Tensor, Tensor]:
    """The largest cell of each bin, (K, C, h, w), and its index y * W + x, -1 if there is none."""
    exists = y_exists[:, :, :, None, None] & x_exists[:, None, None]  # (K, h, S, w, S)
    exists = exists.transpose(2, 3).flatten(3)
    shape = len(exists), len(feature), *exists.shape[1:3]
    if exists.shape[3] == 0 or feature.numel() == 0:
        return feature.new_zeros(shape) + 0 * feature.sum(), y.new_full(shape, -1)
    y, x = y[:, :, :, None, None], x[:, None, None]
    values = feature[:, y, x].transpose(3, 4).flatten(4).transpose(0, 1)
    value, at = torch.where(exists[:, None], values, -torch.inf).max(dim=4)
    cells = (y * feature.shape[2] + x).transpose(2, 3).flatten(3)
    cell = cells[:, None].expand(-1, len(feature), -1, -1, -1).gather(4, at[..., None])[..., 0]
    none = ~exists.any(dim=3)[:, None]
    return torch.where(none, 0, value), torch.where(none, -1, cell)


def _fake(
    input: Tensor, rois: Tensor, _: float, height: int, width: int, __: bool
) -> tuple[Tensor, Tensor]:
    shape = rois.shape[0], input.shape[1], height, width
    return input.new_empty(shape), input.new_empty(shape, dtype=torch.int64)


_operator = define(
    "roi_pool(Tensor input, Tensor rois, float spatial_scale, int height, int width, bool rounded)"
    " -> (Tensor, Tensor)",
    _meaning,
    _fake,
    gradient=["input"],
    saved=1,
)
