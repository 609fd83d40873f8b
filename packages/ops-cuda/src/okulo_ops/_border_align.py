"""BorderAlign: maxima along borders of boxes (https://arxiv.org/abs/2007.11056, section 3.2)."""

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device
from okulo_ops._operator import define
from okulo_ops._sampling import bilinear_taps, check_features, computed_in

__all__ = ["border_align", "BorderAlign"]


def border_align(input: Tensor, boxes: Tensor, pool_size: int) -> Tensor:
    """Maximum of each channel along each border of each box.

    A border is sampled bilinearly at ``pool_size + 1`` points from corner to corner; top and left
    start at (x0, y0), bottom and right at (x1, y1), and the first of equal maxima gets the
    gradient. Samples up to one pixel outside the map repeat its border, those farther out are 0.

    Args:
        input: (N, 4 * C, H, W) floating: C channels for the top, then left, bottom, right.
        boxes: (N, K, 4) floating (x0, y0, x1, y1) in cells of the map, the feature at index i
            stands at i.
        pool_size: Steps along a border, 1 or more.

    Returns:
        (N, C, K, 4), dtype of ``input``: top, left, bottom, right; float16 and bfloat16 are
        computed in float32. The gradient flows to ``input`` only.

    Raises:
        ValueError: Shapes or ``pool_size`` differ from the above.
    """
    check_features("input", input)
    if input.shape[1] % 4:
        raise ValueError(
            f"input must have as many channels for each of the 4 borders, got {input.shape[1]}"
        )
    check_floating("boxes", boxes, (len(input), "K", 4))
    check_same_device(input=input, boxes=boxes)
    if pool_size < 1:
        raise ValueError(f"pool_size must be 1 or more, got {pool_size}")
    return _operator(input, boxes.to(computed_in(input)), pool_size)[0]  # type: ignore[no-any-return]


class BorderAlign(nn.Module):
    """:func:`border_align` with its settings."""

    def __init__(self, pool_size: int) -> None:
        super().__init__()
        self.pool_size = pool_size

    def forward(self, input: Tensor, boxes: Tensor) -> Tensor:
        return border_align(input, boxes, self.pool_size)

    def extra_repr(self) -> str:
        return f"pool_size={self.pool_size}"


def _meaning(input: Tensor, boxes: Tensor, pool_size: int) -> tuple[Tensor, Tensor]:
    """Maxima, and which point they are at: int32 (N, C, K, 4)."""
    features = input.to(computed_in(input)).unflatten(1, (4, -1)).flatten(3)  # (N, 4, C, H * W)
    boxes = boxes.to(features.dtype)
    shape = input.shape[2], input.shape[3]
    with torch.no_grad():
        best = _values(features, *_points(boxes, pool_size, boxes.new_zeros(())), *shape)
        which = torch.zeros_like(best)
        for i in range(1, pool_size + 1):
            step = boxes.new_full((), i)
            values = _values(features, *_points(boxes, pool_size, step), *shape)
            better = values > best
            best = torch.where(better, values, best)
            which = torch.where(better, step, which)
    maxima = _values(features, *_points(boxes, pool_size, which), *shape)
    return maxima.permute(0, 2, 3, 1).to(input.dtype), which.permute(0, 2, 3, 1).int()


def _points(boxes: Tensor, pool_size: int, step: Tensor) -> tuple[Tensor, Tensor]:
    """(y, x) after ``step`` steps, a scalar or (N, 4, C, K): (N, 4, 1, K) or (N, 4, C, K)."""
    x0, y0, x1, y1 = boxes[:, None, None].unbind(4)
    right, down = (x1 - x0) / pool_size * step, (y1 - y0) / pool_size * step
    if step.ndim == 0:
        borders = ((y0, x0 + right), (y0 + down, x0), (y1, x1 - right), (y1 - down, x1))
    else:
        borders = (
            (y0, x0 + right[:, 0:1]),
            (y0 + down[:, 1:2], x0),
            (y1, x1 - right[:, 2:3]),
            (y1 - down[:, 3:4], x1),
        )
    ys, xs = zip(*(torch.broadcast_tensors(y, x) for y, x in borders), strict=True)
    return torch.cat(ys, dim=1), torch.cat(xs, dim=1)


def _values(features: Tensor, y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear samples (N, 4, C, K) of features (N, 4, C, H * W)."""
    shape = (*features.shape[:3], y.shape[3])
    total = features.new_zeros(())
    for index, weight in bilinear_taps(y, x, height, width):
        total = total + weight * features.gather(3, index.expand(shape))
    return total


_operator = define(
    "border_align(Tensor input, Tensor boxes, int pool_size) -> (Tensor, Tensor)",
    _meaning,
    lambda input, boxes, _: tuple(
        input.new_empty(input.shape[0], input.shape[1] // 4, boxes.shape[1], 4, dtype=dtype)
        for dtype in (input.dtype, torch.int32)
    ),
    gradient=["input"],
    saved=1,
)
