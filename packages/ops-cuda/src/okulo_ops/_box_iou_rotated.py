"""Intersection over union of rotated boxes."""

import math

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device
from okulo_ops._operator import define
from okulo_ops._rotated_overlap import IOU, output_dtype, overlap

__all__ = ["DEGREES", "box_iou_rotated", "pairwise_iou_rotated", "rotated_overlaps"]

DEGREES = -math.pi / 180
"""Clockwise radians in one degree counter-clockwise."""

_PAIRS_AT_A_TIME = 2**16


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU of every pair of rotated boxes, exact to float32's rounding for any boxes.

    torchvision's kernel is not asked: a few in a million of its results for ordinary boxes are far
    off (0.15 where 0.35 is right).

    Args:
        boxes1: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        boxes2: (M, 5), the same.

    Returns:
        float32 (N, M) in [0, 1]; 0 where a box has an area below 1e-14. It carries no gradient;
        see :func:`okulo_ops.diff_iou_rotated_2d` for one that does.
    """
    check_boxes("boxes1", boxes1, columns=5)
    check_boxes("boxes2", boxes2, columns=5)
    check_same_device(boxes1=boxes1, boxes2=boxes2)
    return rotated_overlaps(boxes1.detach().float(), boxes2.detach().float(), DEGREES, IOU, False)


pairwise_iou_rotated = box_iou_rotated


def _meaning(boxes1: Tensor, boxes2: Tensor, turn: float, mode: int, aligned: bool) -> Tensor:
    if aligned:
        return overlap(boxes1, boxes2, turn, mode)
    step = max(1, _PAIRS_AT_A_TIME // max(1, len(boxes2)))  # bounds the memory
    return torch.cat([overlap(rows[:, None], boxes2, turn, mode) for rows in boxes1.split(step)])


def _fake(boxes1: Tensor, boxes2: Tensor, turn: float, mode: int, aligned: bool) -> Tensor:
    shape = (len(boxes1),) if aligned else (len(boxes1), len(boxes2))
    return boxes1.new_empty(shape, dtype=output_dtype(boxes1))


rotated_overlaps = define(
    "box_iou_rotated(Tensor boxes1, Tensor boxes2, float turn, int mode, bool aligned) -> Tensor",
    _meaning,
    _fake,
    autocast="float32",
)
