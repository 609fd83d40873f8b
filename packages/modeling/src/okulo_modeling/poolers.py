"""Features of boxes, each from the pyramid level that fits its size."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from okulo_core.structures import Boxes
from okulo_ops import assign_levels, roi_align_levels

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
    boxes = torch.cat([boxes.tensor for boxes in box_lists])
    return assign_levels(boxes, min_level, max_level, canonical_box_size, canonical_level)


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
        self.scales = tuple(scales)
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned[pooler_type]

    def forward(self, x: Sequence[Tensor], box_lists: Sequence[Boxes]) -> Tensor:
        """Pool the boxes of N images.

        Args:
            x: One (N, C, H, W) map per level, finest first.
            box_lists: Boxes of each image in input pixels, M in all.

        Returns:
            (M, C, *output_size) in the order of the boxes, in the dtype of the maps.
        """
        if len(x) != len(self.scales):
            raise ValueError(f"the pooler has {len(self.scales)} levels, got {len(x)} maps")
        if len(box_lists) != x[0].shape[0]:
            raise ValueError(f"got boxes of {len(box_lists)} images for {x[0].shape[0]} images")
        if not box_lists:
            return x[0].new_zeros((0, x[0].shape[1], *self.output_size))
        rois = convert_boxes_to_pooler_format(box_lists)
        levels = assign_boxes_to_levels(
            box_lists, self.min_level, self.max_level, self.canonical_box_size, self.canonical_level
        )
        return roi_align_levels(
            x, rois, levels, self.output_size, self.scales, self.sampling_ratio, self.aligned
        )


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
