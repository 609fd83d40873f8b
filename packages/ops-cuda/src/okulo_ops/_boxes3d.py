"""Overlap and suppression of boxes in space that turn about the vertical axis.

A box is (x, y, z, dx, dy, dz, heading): its centre, its sizes along its own axes, in metres or any
one unit, and the angle in radians from the x axis to its own, positive towards the y axis. Seen
from above (bird's-eye view, BEV) it is the rotated box (x, y, dx, dy, heading).
"""

import warnings

import torch
from torch import Tensor

from okulo_ops._box_iou_rotated import DEGREES, rotated_overlaps
from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32
from okulo_ops._nms import nms
from okulo_ops._nms_rotated import nms_rotated
from okulo_ops._rotated_overlap import IOF, IOU

__all__ = [
    "boxes_iou3d",
    "boxes_iou_bev",
    "boxes_overlap_bev",
    "nms3d",
    "nms3d_normal",
    "nms_bev",
    "nms_normal_bev",
]

_TURN = 1.0  # y up and counter-clockwise has the formulas of y down and clockwise


def boxes_overlap_bev(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Area that every pair of boxes shares, seen from above.

    Args:
        boxes_a: (M, 7) floating boxes in space.
        boxes_b: (N, 7), the same.

    Returns:
        (M, N), square of the boxes' unit; float64 for float64 boxes, else float32. No gradient.
    """
    bev_a, bev_b = map(_from_above, _pair(boxes_a, boxes_b, 7))
    return rotated_overlaps(bev_a, bev_b, _TURN, IOF, False) * _area(bev_a)[:, None]


def boxes_iou_bev(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """IoU of every pair of boxes seen from above.

    Args:
        boxes_a: (M, 5) floating: (x, y, dx, dy, heading).
        boxes_b: (N, 5), the same.

    Returns:
        (M, N) in [0, 1]; float64 for float64 boxes, else float32. No gradient.
    """
    return rotated_overlaps(*_pair(boxes_a, boxes_b, 5), _TURN, IOU, False)


def boxes_iou3d(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """IoU of the volumes of every pair of boxes.

    Args:
        boxes_a: (M, 7) floating boxes in space; z is that of the centre.
        boxes_b: (N, 7), the same.

    Returns:
        (M, N) in [0, 1], 0 for a pair without volume; float64 for float64 boxes, else float32. No
        gradient; see :func:`okulo_ops.diff_iou_rotated_3d` for one that has.
    """
    area = boxes_overlap_bev(boxes_a, boxes_b)
    a, b = _pair(boxes_a, boxes_b, 7)
    top = torch.minimum((a[:, 2] + a[:, 5] / 2)[:, None], b[:, 2] + b[:, 5] / 2)
    bottom = torch.maximum((a[:, 2] - a[:, 5] / 2)[:, None], b[:, 2] - b[:, 5] / 2)
    shared = area * (top - bottom).clamp(min=0)
    union = a[:, 3:6].prod(dim=1)[:, None] + b[:, 3:6].prod(dim=1) - shared
    return torch.where(shared > 0, shared / union, 0.0)


def nms3d(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best box of every group whose areas seen from above overlap.

    Args:
        boxes: (N, 7) floating boxes in space.
        scores: (N,).
        iou_threshold: In [0, 1]; a box is dropped if its IoU with a kept one is greater.

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score.
    """
    check_boxes("boxes", boxes, columns=7)
    return _suppress_rotated(_from_above(boxes.detach()), scores, iou_threshold)


def nms3d_normal(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """:func:`nms3d` as if every heading were 0."""
    check_boxes("boxes", boxes, columns=7)
    bev = _from_above(boxes.detach())
    half = bev[:, 2:4] / 2
    return nms(torch.cat((bev[:, :2] - half, bev[:, :2] + half), dim=1), scores, iou_threshold)


def nms_bev(
    boxes: Tensor,
    scores: Tensor,
    thresh: float,
    pre_max_size: int | None = None,
    post_max_size: int | None = None,
) -> Tensor:
    """Deprecated, use :func:`nms3d`.

    Args:
        boxes: (N, 5) floating: (x0, y0, x1, y1, heading), the corners before the box was turned.
        scores: (N,).
        thresh: In [0, 1].
        pre_max_size: How many of the best boxes take part; None for all.
        post_max_size: How many are kept at most; None for all.

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score.
    """
    _warn_deprecated("nms_bev", "nms3d")
    check_boxes("boxes", boxes, columns=5)
    check_vector("scores", scores, len(boxes))
    best = scores.argsort(descending=True, stable=True)[:pre_max_size]
    low, high, heading = in_float32(boxes.detach())[best].split((2, 2, 1), dim=1)
    bev = torch.cat(((low + high) / 2, high - low, heading), dim=1)
    return best[_suppress_rotated(bev, scores[best], thresh)][:post_max_size]


def nms_normal_bev(boxes: Tensor, scores: Tensor, thresh: float) -> Tensor:
    """Deprecated, use :func:`nms3d_normal`; as :func:`nms_bev` with headings of 0."""
    _warn_deprecated("nms_normal_bev", "nms3d_normal")
    check_boxes("boxes", boxes, columns=5)
    return nms(boxes[:, :4], scores, thresh)


def _from_above(boxes: Tensor) -> Tensor:
    return in_float32(boxes)[:, [0, 1, 3, 4, 6]]


def _area(bev: Tensor) -> Tensor:
    return (bev[:, 2] * bev[:, 3]).abs()


def _suppress_rotated(bev: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    boxes = torch.cat((bev[:, :4], bev[:, 4:] * (_TURN / DEGREES)), dim=1)
    return nms_rotated(boxes, scores, iou_threshold)


def _pair(boxes_a: Tensor, boxes_b: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """The boxes, checked, in the dtype both are compared in."""
    check_boxes("boxes_a", boxes_a, columns)
    check_boxes("boxes_b", boxes_b, columns)
    check_same_device(boxes_a=boxes_a, boxes_b=boxes_b)
    a, b = in_float32(boxes_a.detach()), in_float32(boxes_b.detach())
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def _warn_deprecated(name: str, instead: str) -> None:
    warnings.warn(f"{name} is deprecated, use {instead}", DeprecationWarning, stacklevel=3)
