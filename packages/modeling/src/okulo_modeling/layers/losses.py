"""Losses on classes and boxes that are defined, and differentiable, for zero elements too."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ciou_loss", "cross_entropy", "diou_loss", "giou_loss", "smooth_l1_loss"]


def cross_entropy(
    input: Tensor, target: Tensor, *, reduction: str = "mean", **kwargs: Any
) -> Tensor:
    """``torch.nn.functional.cross_entropy``, but the mean over no elements is 0 and not NaN."""
    if target.numel() == 0 and reduction == "mean":
        return input.sum() * 0.0  # stays part of the graph
    return F.cross_entropy(input, target, reduction=reduction, **kwargs)


def smooth_l1_loss(input: Tensor, target: Tensor, beta: float, reduction: str = "none") -> Tensor:
    """Huber's loss divided by ``beta`` (Fast R-CNN, https://arxiv.org/abs/1504.08083, Eq. 3).

    Args:
        input: Any shape.
        target: The same shape.
        beta: Differences below it are squared; below 1e-5 the loss is L1, whose gradient at 0 is 0.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    distance = (input - target).abs()
    if beta >= 1e-5:
        distance = torch.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)
    return _reduced(distance, reduction)


def giou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - generalised IoU (https://arxiv.org/abs/1902.09630, Algorithm 1) of (N, 4) XYXY pairs."""
    _check_boxes(boxes1)
    iou, union = _iou_and_union(boxes1, boxes2, eps)
    hull_area = _hull_sides(boxes1, boxes2).prod(dim=-1)
    return _reduced(1 - iou + (hull_area - union) / (hull_area + eps), reduction)


def diou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - distance IoU (https://arxiv.org/abs/1911.08287, Eq. 7) of (N, 4) XYXY pairs."""
    return _reduced(_diou(boxes1, boxes2, eps)[0], reduction)


def ciou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - complete IoU (https://arxiv.org/abs/1911.08287, Eq. 10) of (N, 4) XYXY pairs."""
    diou, iou = _diou(boxes1, boxes2, eps)
    angle1, angle2 = (torch.atan(w / h) for w, h in (_sides(boxes1), _sides(boxes2)))
    v = 4 / math.pi**2 * (angle2 - angle1) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + eps)
    return _reduced(diou + alpha * v, reduction)


def _diou(boxes1: Tensor, boxes2: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    _check_boxes(boxes1)
    iou, _ = _iou_and_union(boxes1, boxes2, eps)
    diagonal = _hull_sides(boxes1, boxes2).square().sum(dim=-1) + eps
    shift = 0.5 * (boxes1[..., :2] + boxes1[..., 2:] - boxes2[..., :2] - boxes2[..., 2:])
    return 1 - iou + shift.square().sum(dim=-1) / diagonal, iou


def _check_boxes(boxes: Tensor) -> None:
    inverted = (boxes[..., 2:] < boxes[..., :2]).any(dim=-1)
    if bool(inverted.any()):
        raise ValueError(
            f"boxes must have x0 <= x1 and y0 <= y1, got {boxes[inverted][0].tolist()}; "
            "are they (x, y, width, height)?"
        )


def _iou_and_union(boxes1: Tensor, boxes2: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    sides = bottom_right - top_left
    inter = torch.where((sides > 0).all(dim=-1), sides.prod(dim=-1), 0.0)
    union = (boxes1[..., 2:] - boxes1[..., :2]).prod(dim=-1) - inter
    union = union + (boxes2[..., 2:] - boxes2[..., :2]).prod(dim=-1)
    return inter / (union + eps), union


def _hull_sides(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    bottom_right = torch.maximum(boxes1[..., 2:], boxes2[..., 2:])
    return bottom_right - torch.minimum(boxes1[..., :2], boxes2[..., :2])


def _sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(dim=-1)
    return width, height


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean() if loss.numel() else loss.sum() * 0.0
    raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
