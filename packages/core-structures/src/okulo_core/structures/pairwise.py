"""Overlap and distance between the boxes of two sets."""

import torch
from torch import Tensor

from okulo_core.structures.boxes import Boxes
from okulo_core.structures.rotated_boxes import RotatedBoxes
from okulo_ops import box_iou_rotated

__all__ = [
    "pairwise_intersection",
    "pairwise_iou",
    "pairwise_iou_rotated",
    "pairwise_ioa",
    "matched_pairwise_iou",
    "pairwise_point_box_distance",
]


def pairwise_intersection(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Area shared by every pair, in square pixels: float32 (N, M)."""
    first, second = boxes1.tensor[:, None], boxes2.tensor[None]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    width, height = (high - low).clamp(min=0).unbind(dim=-1)
    return width * height


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Intersection over union of every pair: float32 (N, M), exactly 0 without intersection.

    Two sets of :class:`RotatedBoxes` are compared as such.
    """
    rotated = isinstance(boxes1, RotatedBoxes), isinstance(boxes2, RotatedBoxes)
    if all(rotated):
        return pairwise_iou_rotated(boxes1, boxes2)
    if any(rotated):
        raise TypeError(
            "expected two sets of one kind, "
            f"got {type(boxes1).__name__} and {type(boxes2).__name__}; "
            "make Boxes rotated by BoxMode.convert"
        )
    shared = pairwise_intersection(boxes1, boxes2)
    union = boxes1.area()[:, None] + boxes2.area()[None] - shared
    return torch.where(shared > 0, shared / union, 0.0)


def pairwise_iou_rotated(boxes1: Boxes | Tensor, boxes2: Boxes | Tensor) -> Tensor:
    """Intersection over union of every pair of rotated boxes: float32 (N, M).

    Takes :class:`RotatedBoxes` or their tensors, (N, 5) and (M, 5); see
    :func:`okulo_ops.box_iou_rotated`.
    """
    return box_iou_rotated(
        boxes1.tensor if isinstance(boxes1, Boxes) else boxes1,
        boxes2.tensor if isinstance(boxes2, Boxes) else boxes2,
    )


def pairwise_ioa(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Intersection over the area of the second box, every pair: float32 (N, M), 0 without any."""
    shared = pairwise_intersection(boxes1, boxes2)
    return torch.where(shared > 0, shared / boxes2.area()[None], 0.0)


def matched_pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """Intersection over union of row i with row i: float32 (N,), 0 without intersection."""
    if len(boxes1) != len(boxes2):
        raise ValueError(
            f"expected equally many boxes, got {len(boxes1)} and {len(boxes2)}; "
            "pairwise_iou compares every pair"
        )
    low = torch.maximum(boxes1.tensor[:, :2], boxes2.tensor[:, :2])
    high = torch.minimum(boxes1.tensor[:, 2:], boxes2.tensor[:, 2:])
    width, height = (high - low).clamp(min=0).unbind(dim=-1)
    shared = width * height
    return torch.where(shared > 0, shared / (boxes1.area() + boxes2.area() - shared), 0.0)


def pairwise_point_box_distance(points: Tensor, boxes: Boxes) -> Tensor:
    """Signed distances of points from the sides of boxes.

    Args:
        points: (N, 2): x, y in pixels.
        boxes: M boxes.

    Returns:
        (N, M, 4): left, top, right, bottom; all positive exactly where the point is inside.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), got {tuple(points.shape)}")
    at, corners = points[:, None], boxes.tensor[None]
    return torch.cat((at - corners[..., :2], corners[..., 2:] - at), dim=-1)
