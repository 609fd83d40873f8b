"""Suppression of rotated boxes with mmcv's arguments: boxes come back with their scores."""

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device, check_vector
from okulo_ops._nms_rotated import suppress_rotated

__all__ = ["nms_rotated"]


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    iou_threshold: float,
    labels: Tensor | None = None,
    clockwise: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Keep the best rotated box of every group that overlaps.

    Args:
        dets: (N, 5) floating: (cx, cy, w, h, angle), pixels and radians.
        scores: (N,).
        iou_threshold: In [0, 1]; a box is dropped if its IoU is greater.
        labels: (N,) integer; only boxes of equal labels suppress each other.
        clockwise: Which way a positive angle turns, seen with y down.

    Returns:
        (K, 6) kept boxes with their scores, and their int64 (K,) indices, by decreasing score,
        equal scores by index. Without boxes: ``dets`` as it is, and None.
    """
    check_boxes("dets", dets, columns=5)
    check_vector("scores", scores, len(dets))
    check_same_device(dets=dets, scores=scores)
    if labels is not None:
        check_vector("labels", labels, len(dets))
        check_same_device(dets=dets, labels=labels)
    if len(dets) == 0:
        return dets, None
    turn = 1.0 if clockwise else -1.0
    keep = suppress_rotated(dets, scores, labels, iou_threshold, turn)
    return torch.cat((dets[keep], scores[keep, None].to(dets.dtype)), dim=1), keep
