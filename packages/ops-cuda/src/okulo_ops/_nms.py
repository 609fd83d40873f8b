"""Non-maximum suppression of axis-aligned boxes, for all together or within categories."""

import importlib.util

import torch
from torch import Tensor

from okulo_ops._box_geometry import area, shared_area
from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32
from okulo_ops._operator import define

__all__ = ["nms", "batched_nms", "suppress"]

_BLOCK = 512  # boxes that the meaning compares with all later ones at a time


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best box of every group that overlaps.

    Boxes are taken in decreasing order of score; a box is dropped if its IoU with a kept one is
    greater than the threshold. Boxes whose IoU equals the threshold both stay, and so does a box
    with a coordinate that is not a number.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels. float16 and bfloat16 count in float32.
        scores: (N,); NaN counts as the greatest, as in :func:`torch.sort`.
        iou_threshold: In [0, 1].

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score, equal scores by index.
    """
    check_boxes("boxes", boxes)
    check_vector("scores", scores, len(boxes))
    check_same_device(boxes=boxes, scores=scores)
    if boxes.is_cuda and importlib.util.find_spec("torchvision"):
        # Ours is measured to be faster on the CPU only.
        from torchvision.ops import nms as torchvision_nms

        boxes = in_float32(boxes)
        return torchvision_nms(boxes, scores.to(boxes.dtype), iou_threshold)
    return suppress(boxes, scores, None, iou_threshold)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Suppress within each category; boxes of different categories never touch each other.

    Categories are compared, boxes are not shifted apart: no coordinate loses digits, and negative
    ones are as good as others.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels. float16 and bfloat16 count in float32.
        scores: (N,).
        idxs: (N,) integer category of each box, e.g. class label or pyramid level.
        iou_threshold: In [0, 1]; a box is dropped if its IoU is greater.

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score over all categories, equal
        scores by index.
    """
    check_boxes("boxes", boxes)
    check_vector("scores", scores, len(boxes))
    check_vector("idxs", idxs, len(boxes))
    check_same_device(boxes=boxes, scores=scores, idxs=idxs)
    return suppress(boxes, scores, idxs, iou_threshold)


def suppress(
    boxes: Tensor, scores: Tensor, idxs: Tensor | None, iou_threshold: float, offset: int = 0
) -> Tensor:
    """Indices of the kept boxes by decreasing score; the arguments have been checked."""
    order = scores.argsort(descending=True, stable=True)
    categories = None if idxs is None else idxs[order].long()
    return order[_nms(boxes[order], categories, iou_threshold, offset)]


def _nms_meaning(boxes: Tensor, idxs: Tensor | None, iou_threshold: float, offset: int) -> Tensor:
    boxes = in_float32(boxes)
    areas = area(boxes, offset)
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(boxes), _BLOCK):
        end = min(start + _BLOCK, len(boxes))
        shared = shared_area(boxes[start:end, None], boxes[None, start:], offset)
        over = shared / (areas[start:end, None] + areas[None, start:] - shared) > iou_threshold
        if idxs is not None:
            over &= idxs[start:end, None] == idxs[None, start:]
        kept[start:end] = _settled(over[:, : end - start].triu(1), kept[start:end])
        kept[end:] &= ~(over[:, end - start :] & kept[start:end, None]).any(dim=0)
    return kept


def _settled(over: Tensor, candidates: Tensor) -> Tensor:
    """Who stays if i drops j > i where ``over[i, j]``; step k settles at least the first k."""
    kept = candidates
    while True:
        previous, kept = kept, candidates & ~(over & kept[:, None]).any(dim=0)
        if torch.equal(previous, kept):
            return kept


_nms = define(
    "nms(Tensor boxes, Tensor? idxs, float iou_threshold, int offset) -> Tensor",
    _nms_meaning,
    lambda boxes, *_: boxes.new_empty(boxes.shape[0], dtype=torch.bool),
)
