"""Intersection over union of rotated boxes."""

import torch
import torchvision  # noqa: F401  (defines torch.ops.torchvision)
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device

__all__ = ["box_iou_rotated"]


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU of every pair of rotated boxes.

    Args:
        boxes1: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        boxes2: (M, 5), the same.

    Returns:
        float32 (N, M) in [0, 1]; 0 where a box has no area. It carries no gradient.
    """
    check_boxes("boxes1", boxes1, columns=5)
    check_boxes("boxes2", boxes2, columns=5)
    check_same_device(boxes1=boxes1, boxes2=boxes2)
    return torch.ops.torchvision.box_iou_rotated(
        boxes1.detach().float().contiguous(), boxes2.detach().float().contiguous()
    )
