"""Non-maximum suppression of axis-aligned boxes, for all together or within categories."""

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32

__all__ = ["nms", "batched_nms"]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best box of every group that overlaps.

    Boxes are taken in decreasing order of score; a box is dropped if its IoU with a kept one is
    greater than the threshold. Boxes whose IoU equals the threshold both stay.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels. float16 and bfloat16 count in float32.
        scores: (N,).
        iou_threshold: In [0, 1].

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score. Among equal scores the order is
        not defined across devices.
    """
    check_boxes("boxes", boxes)
    check_vector("scores", scores, len(boxes))
    check_same_device(boxes=boxes, scores=scores)
    from torchvision.ops import nms as torchvision_nms  # late: importing it takes a second

    boxes = in_float32(boxes)
    return torchvision_nms(boxes, scores.to(boxes.dtype), iou_threshold)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Suppress within each category; boxes of different categories never touch each other.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels, computed in float32.
        scores: (N,).
        idxs: (N,) integer category of each box, e.g. class label or pyramid level.
        iou_threshold: In [0, 1]; a box is dropped if its IoU is greater.

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score over all categories.
    """
    check_boxes("boxes", boxes)
    check_vector("scores", scores, len(boxes))
    check_vector("idxs", idxs, len(boxes))
    check_same_device(boxes=boxes, scores=scores, idxs=idxs)
    if len(boxes) == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    from torchvision.ops import batched_nms as torchvision_batched_nms  # late, as above

    # Categories are kept apart by shifting them along the diagonal, which is only right for boxes
    # that start at 0: without this a box at negative coordinates reaches into another category.
    boxes = boxes.float()
    boxes = boxes - boxes.amin().clamp(max=0)
    return torchvision_batched_nms(boxes, scores.float(), idxs, iou_threshold)
