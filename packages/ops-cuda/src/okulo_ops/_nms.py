"""Non-maximum suppression of axis-aligned boxes, for all together or within categories."""

from collections.abc import Callable

import torch
from torch import Tensor

from okulo_ops._box_geometry import area, shared_area
from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32
from okulo_ops._operator import define
from okulo_ops._torchvision import torchvision_ops

__all__ = ["nms", "batched_nms", "owners", "suppress"]

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
    boxes = in_float32(boxes)
    if (theirs := torchvision_ops(boxes)) is not None:
        return theirs.nms(boxes, scores.to(boxes.dtype), iou_threshold)  # type: ignore[no-any-return]
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


def owners(
    boxes: Tensor, idxs: Tensor | None, drops: Callable[[Tensor], Tensor], offset: int = 0
) -> Tensor:
    """Rank of the first kept box that drops each box, its own rank if none does.

    Args:
        boxes: (N, 4), by decreasing score.
        idxs: (N,) categories, or None.
        drops: From IoU to whether a kept box drops another of this overlap.
        offset: Added to widths and heights.
    """
    boxes = in_float32(boxes)
    areas, ranks = area(boxes, offset), torch.arange(len(boxes), device=boxes.device)
    owner = torch.full_like(ranks, -1)
    for start in range(0, len(boxes), _BLOCK):
        block, rest = slice(start, start + _BLOCK), slice(start, None)
        shared = shared_area(boxes[block, None], boxes[None, rest], offset)
        over = drops(shared / (areas[block, None] + areas[None, rest] - shared)).triu(1)
        if idxs is not None:
            over &= idxs[block, None] == idxs[None, rest]
        kept = _settled(over[:, : len(over)], owner[block] < 0)
        over &= kept[:, None]
        first = start + over.byte().argmax(dim=0)
        owner[rest] = torch.where((owner[rest] < 0) & over.any(dim=0), first, owner[rest])
        owner[block] = torch.where(kept, ranks[block], owner[block])
    return owner


def _settled(over: Tensor, candidates: Tensor) -> Tensor:
    """Who stays if i drops j > i where ``over[i, j]``; step k settles at least the first k."""
    kept = candidates
    while True:
        previous, kept = kept, candidates & ~(over & kept[:, None]).any(dim=0)
        if torch.equal(previous, kept):
            return kept


def _nms_meaning(boxes: Tensor, idxs: Tensor | None, iou_threshold: float, offset: int) -> Tensor:
    owner = owners(boxes, idxs, lambda iou: iou > iou_threshold, offset)
    return owner == torch.arange(len(boxes), device=boxes.device)


_nms = define(
    "nms(Tensor boxes, Tensor? idxs, float iou_threshold, int offset) -> Tensor",
    _nms_meaning,
    lambda boxes, *_: boxes.new_empty(boxes.shape[0], dtype=torch.bool),
)
