"""Features of boxes, each from the pyramid level that fits its size."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from okulo_core.structures import Boxes
from okulo_ops import ROIAlign

__all__ = [
    "PoolerType",
    "ROIPooler",
    "assign_boxes_to_levels",
    "convert_boxes_to_pooler_format",
]

PoolerType = Literal["ROIAlign", "ROIAlignV2"]


def assign_boxes_to_levels(
    box_lists: Sequence[Boxes],
    min_level: int,
    max_level: int,
    canonical_box_size: float,
    canonical_level: int,
) -> Tensor:
    """Choose the pyramid level of every box (https://arxiv.org/abs/1612.03144, Eq. 1).

    Args:
        box_lists: Boxes of each image, M in all, in input pixels.
        min_level: Level k has stride 2**k; the finest there is.
        max_level: The coarsest there is.
        canonical_box_size: A square box with this side, in pixels, belongs to ...
        canonical_level: ... this level; half the side to the one below.

    Returns:
        (M,) int64, counted from ``min_level``.
    """
    sides = torch.cat([boxes.area() for boxes in box_lists]).sqrt()
    # The small number moves a box at the exact border, where rounding would decide, up.
    levels = torch.floor(canonical_level + torch.log2(sides / canonical_box_size + 1e-8))
    return levels.clamp(min_level, max_level).to(torch.int64) - min_level


def convert_boxes_to_pooler_format(box_lists: Sequence[Boxes]) -> Tensor:
    """Join the boxes of all images: (M, 5), the index of the image before the four coordinates."""
    boxes = torch.cat([boxes.tensor for boxes in box_lists])
    counts = torch.tensor([len(boxes) for boxes in box_lists], device=boxes.device)
    image = torch.repeat_interleave(counts.to(boxes.device), output_size=len(boxes))
    return torch.cat((image[:, None].to(boxes.dtype), boxes), dim=1)


class ROIPooler(nn.Module):
    """ROIAlign on a feature pyramid.

    Args:
        output_size: Cells of the result, (height, width) or one number for both.
        scales: Size of each level over the image's: powers of two, each half of the one before.
        sampling_ratio: Samples per cell and direction; 0 adapts to the box.
        pooler_type: ``"ROIAlignV2"`` has aligned pixel centres; ``"ROIAlign"``, of old models, is
            half a cell off.
        canonical_box_size: See :func:`assign_boxes_to_levels`.
        canonical_level: Likewise.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        scales: Sequence[float],
        sampling_ratio: int,
        pooler_type: str,
        canonical_box_size: float = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        aligned = {"ROIAlign": False, "ROIAlignV2": True}
        if pooler_type not in aligned:
            raise ValueError(f"pooler_type must be one of {list(aligned)}, got {pooler_type!r}")
        self.output_size = (output_size,) * 2 if isinstance(output_size, int) else output_size
        self.min_level, self.max_level = _level_range(scales)
        self.canonical_box_size = canonical_box_size
        self.canonical_level = canonical_level
        self.level_poolers = nn.ModuleList(
            ROIAlign(self.output_size, scale, sampling_ratio, aligned[pooler_type])
            for scale in scales
        )

    def forward(self, x: Sequence[Tensor], box_lists: Sequence[Boxes]) -> Tensor:
        """Pool the boxes of N images.

        Args:
            x: One (N, C, H, W) map per level, finest first.
            box_lists: Boxes of each image in input pixels, M in all.

        Returns:
            (M, C, *output_size) in the order of the boxes, in the dtype of the maps.
        """
        if len(x) != len(self.level_poolers):
            raise ValueError(f"the pooler has {len(self.level_poolers)} levels, got {len(x)} maps")
        if len(box_lists) != x[0].shape[0]:
            raise ValueError(f"got boxes of {len(box_lists)} images for {x[0].shape[0]} images")
        if not box_lists:
            return x[0].new_zeros((0, x[0].shape[1], *self.output_size))
        rois = convert_boxes_to_pooler_format(box_lists)
        if len(x) == 1:
            return self.level_poolers[0](x[0], rois)
        levels = assign_boxes_to_levels(
            box_lists, self.min_level, self.max_level, self.canonical_box_size, self.canonical_level
        )
        # Boxes are pooled level by level; index_select then restores their order.
        rows = [(levels == level).nonzero()[:, 0] for level in range(len(x))]
        per_level = zip(self.level_poolers, x, rows, strict=True)
        pooled = torch.cat([pooler(level, rois[row]) for pooler, level, row in per_level])
        return pooled.index_select(0, torch.cat(rows).argsort())


def _level_range(scales: Sequence[float]) -> tuple[int, int]:
    levels = [-math.log2(scale) for scale in scales]
    first = round(levels[0]) if levels else 0
    expected = [float(first + i) for i in range(len(levels))]
    if not levels or any(not math.isclose(a, b) for a, b in zip(levels, expected, strict=True)):
        raise ValueError(
            "scales must be powers of two that halve from one level to the next, such as "
            f"(1/4, 1/8, 1/16); got {tuple(scales)}"
        )
    return first, first + len(levels) - 1
