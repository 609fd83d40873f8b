"""Non-maximum suppression of rotated boxes, for all together or within categories."""

import torch
from torch import Tensor

from okulo_ops._box_iou_rotated import box_iou_rotated
from okulo_ops._checks import check_boxes, check_same_device, check_vector

__all__ = ["nms_rotated", "batched_nms_rotated"]


def nms_rotated(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best rotated box of every group that overlaps.

    Only the region counts: a box turned by 180 degrees, or by 90 with its sides exchanged, is the
    same box. The rule is that of :func:`okulo_ops.nms`: dropped if the IoU is greater than the
    threshold.

    Args:
        boxes: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        scores: (N,).
        iou_threshold: In [0, 1].

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score.
    """
    check_boxes("boxes", boxes, columns=5)
    check_vector("scores", scores, len(boxes))
    check_same_device(boxes=boxes, scores=scores)
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    overlaps = (box_iou_rotated(ranked, ranked) > iou_threshold).cpu()
    dropped = torch.zeros(len(boxes), dtype=torch.bool)
    for rank in range(len(boxes)):
        if not dropped[rank]:
            dropped[rank + 1 :] |= overlaps[rank, rank + 1 :]
    return order[~dropped.to(order.device)]


def batched_nms_rotated(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float
) -> Tensor:
    """Suppress rotated boxes within each category.

    Args:
        boxes: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        scores: (N,).
        idxs: (N,) integer category of each box.
        iou_threshold: In [0, 1]; a box is dropped if its IoU is greater.

    Returns:
        int64 (K,): indices of the kept boxes, by decreasing score over all categories.
    """
    check_boxes("boxes", boxes, columns=5)
    check_vector("scores", scores, len(boxes))
    check_vector("idxs", idxs, len(boxes))
    check_same_device(boxes=boxes, scores=scores, idxs=idxs)
    if len(boxes) == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    apart = boxes.float().clone()
    centers, reach = apart[:, :2], apart[:, 2:4].amax(dim=1, keepdim=True) / 2
    spread = (centers + reach).amax() - (centers - reach).amin() + 1
    apart[:, :2] += idxs.to(apart)[:, None] * spread
    return nms_rotated(apart, scores, iou_threshold)
