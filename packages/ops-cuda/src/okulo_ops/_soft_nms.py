"""Soft suppression: overlapping boxes lose score instead of being dropped."""

from typing import Literal, get_args

import torch
from torch import Tensor

from okulo_ops._arrays import Values, as_tensor, like
from okulo_ops._box_geometry import area, shared_area
from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32
from okulo_ops._operator import define

__all__ = ["soft_nms", "decay"]

Method = Literal["naive", "linear", "gaussian"]
_METHODS: tuple[str, ...] = get_args(Method)  # the kernel takes the position


def soft_nms(
    boxes: Values,
    scores: Values,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: Method = "linear",
    offset: int = 0,
) -> tuple[Values, Values]:
    """Take the best box, let the scores of the others decay by their overlap with it, and go on.

    https://arxiv.org/abs/1704.04503. A score s becomes, if the IoU with the taken box is u:
    s (1 - u) for "linear" and 0 for "naive" where u >= iou_threshold; s exp(-u^2 / sigma) for
    "gaussian" everywhere. A box whose score is less than ``min_score`` after that is dropped.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels.
        scores: (N,), of the same kind: tensors or NumPy arrays.
        iou_threshold: In [0, 1]; equality counts as overlap, unlike in :func:`okulo_ops.nms`.
        sigma: > 0.
        min_score: Boxes below are dropped.
        method: "naive", "linear" or "gaussian".
        offset: 0, or 1 for the old habit of counting a box's last pixel: width x1 - x0 + 1.

    Returns:
        (K, 5) boxes and their decayed scores, and their int64 (K,) indices, in the order of
        choice, that is by decreasing score, equal ones by index; tensors or arrays as given.
    """
    rows, values = as_tensor(boxes), as_tensor(scores)
    check_boxes("boxes", rows)
    check_vector("scores", values, len(rows))
    check_same_device(boxes=rows, scores=values)
    decayed, keep = decay(rows, values, None, iou_threshold, sigma, min_score, method, offset)
    return like(boxes, torch.cat((rows[keep], decayed[:, None]), dim=1)), like(boxes, keep)


def decay(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor | None,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: Method = "linear",
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Decayed scores and indices; with ``idxs`` only boxes of one category touch each other."""
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    if offset not in (0, 1):
        raise ValueError(f"offset must be 0 or 1, got {offset!r}")
    decayed, keep = _soft_nms(
        boxes,
        scores.to(boxes.dtype),
        None if idxs is None else idxs.long(),
        iou_threshold,
        sigma,
        min_score,
        _METHODS.index(method),
        offset,
    )
    return decayed, keep


def _meaning(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor | None,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> tuple[Tensor, Tensor]:
    rows, left = in_float32(boxes), in_float32(scores)
    index = torch.arange(len(boxes), device=boxes.device)
    values, order = [left[:0]], [index[:0]]
    while len(index):
        best = int(left.argmax())
        values.append(left[best : best + 1])
        order.append(index[best : best + 1])
        shared = shared_area(rows, rows[best], offset)
        iou = shared / (area(rows, offset) + area(rows[best], offset) - shared)
        weight = _weight(iou, iou_threshold, sigma, _METHODS[method])
        if idxs is not None:
            weight = torch.where(idxs[index] == idxs[index[best]], weight, 1)
        left = left * weight
        stays = ~(left < min_score)
        stays[best] = False
        rows, left, index = rows[stays], left[stays], index[stays]
    return torch.cat(values).to(scores.dtype), torch.cat(order)


def _weight(iou: Tensor, iou_threshold: float, sigma: float, method: str) -> Tensor:
    if method == "gaussian":
        # In float64: equal on every device after rounding, and so is the order of the boxes.
        weight = (-iou.double() * iou.double() / sigma).exp().to(iou.dtype)
        return torch.where(iou > 0, weight, 1)
    left = 1 - iou if method == "linear" else torch.zeros_like(iou)
    return torch.where(iou >= iou_threshold, left, 1)


def _fake(boxes: Tensor, scores: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size()
    return scores.new_empty(size), scores.new_empty(size, dtype=torch.int64)


_soft_nms = define(
    "soft_nms(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold, float sigma,"
    " float min_score, int method, int offset) -> (Tensor, Tensor)",
    _meaning,
    _fake,
)
