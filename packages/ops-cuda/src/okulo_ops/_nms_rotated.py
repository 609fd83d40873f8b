"""Non-maximum suppression of rotated boxes, for all together or within categories."""

import torch
from torch import Tensor

from okulo_ops._box_iou_rotated import DEGREES
from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32
from okulo_ops._operator import define
from okulo_ops._rotated_overlap import IOU, overlap
from okulo_ops._suppression import kept_of_ranked

__all__ = ["nms_rotated", "batched_nms_rotated", "suppress_rotated"]


def nms_rotated(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best rotated box of every group that overlaps.

    Only the region counts: a box turned by 180 degrees, or by 90 with its sides exchanged, is the
    same box. The rule is that of :func:`okulo_ops.nms`, on every device: dropped if the IoU is
    greater than the threshold.

    Args:
        boxes: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        scores: (N,).
        iou_threshold: In [0, 1].

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score, equal scores by index.
    """
    check_boxes("boxes", boxes, columns=5)
    check_vector("scores", scores, len(boxes))
    check_same_device(boxes=boxes, scores=scores)
    return suppress_rotated(boxes, scores, None, iou_threshold, DEGREES)


def batched_nms_rotated(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float
) -> Tensor:
    """Suppress rotated boxes within each category.

    Categories are compared, boxes are not shifted apart: no coordinate loses digits.

    Args:
        boxes: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        scores: (N,).
        idxs: (N,) integer category of each box.
        iou_threshold: In [0, 1]; a box is dropped if its IoU is greater.

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score over all categories, equal
        scores by index.
    """
    check_boxes("boxes", boxes, columns=5)
    check_vector("scores", scores, len(boxes))
    check_vector("idxs", idxs, len(boxes))
    check_same_device(boxes=boxes, scores=scores, idxs=idxs)
    return suppress_rotated(boxes, scores, idxs, iou_threshold, DEGREES)


def suppress_rotated(
    boxes: Tensor, scores: Tensor, idxs: Tensor | None, iou_threshold: float, turn: float
) -> Tensor:
    """Indices of the kept boxes by decreasing score; the arguments have been checked.

    ``turn``: clockwise radians in one unit of the angle.
    """
    order = scores.argsort(descending=True, stable=True)
    categories = None if idxs is None else idxs[order].long()
    return order[_nms_rotated(boxes.detach()[order], categories, iou_threshold, turn)]


def _meaning(boxes: Tensor, idxs: Tensor | None, iou_threshold: float, turn: float) -> Tensor:
    boxes = in_float32(boxes)

    def over(block: slice) -> Tensor:
        return overlap(boxes, boxes[block, None], turn, IOU) > iou_threshold

    return kept_of_ranked(over, idxs, len(boxes), boxes)


_nms_rotated = define(
    "nms_rotated(Tensor boxes, Tensor? idxs, float iou_threshold, float turn) -> Tensor",
    _meaning,
    lambda boxes, *_: boxes.new_empty(boxes.shape[0], dtype=torch.bool),
)
