"""Suppression of axis-aligned boxes with mmcv's arguments: boxes come back with their scores."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from okulo_ops._arrays import Values, as_tensor, like
from okulo_ops._checks import check_boxes, check_same_device, check_vector
from okulo_ops._nms import suppress
from okulo_ops._nms_rotated import suppress_rotated
from okulo_ops._soft_nms import decay

__all__ = ["nms", "batched_nms"]


def nms(
    boxes: Values,
    scores: Values,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Values, Values]:
    """Keep the best box of every group that overlaps; the rule is that of :func:`okulo_ops.nms`.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels.
        scores: (N,), of the same kind: tensors or NumPy arrays.
        iou_threshold: In [0, 1]; a box is dropped if its IoU with a kept one is greater.
        offset: 0, or 1 for the old habit of counting a box's last pixel: width x1 - x0 + 1.
        score_threshold: If positive, only boxes of a greater score take part.
        max_num: If positive, at most so many boxes are returned.

    Returns:
        (K, 5) kept boxes and their scores, and their int64 (K,) indices, by decreasing score;
        tensors or arrays as given.
    """
    rows, values = as_tensor(boxes), as_tensor(scores)
    _check(rows, values)
    kept_scores, keep = _hard(rows, values, None, iou_threshold, offset, score_threshold)
    dets, keep = _cut(rows, kept_scores, keep, max_num)
    return like(boxes, dets), like(boxes, keep)


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    nms_cfg: Mapping[str, Any] | None,
    class_agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Suppress within each category, by the kind of suppression that ``nms_cfg`` names.

    Categories are compared, boxes are not shifted apart: any number of boxes, negative coordinates
    and many categories give what each category alone would.

    Args:
        boxes: (N, 4) floating, (x0, y0, x1, y1) in pixels; for "nms_rotated" (N, 5):
            (cx, cy, w, h, angle), in radians and clockwise.
        scores: (N,).
        idxs: (N,) integer category of each box.
        nms_cfg: ``type``, "nms" (the default), "soft_nms" or "nms_rotated", and its settings:
            ``iou_threshold`` (once ``iou_thr``) and the others of that operator; ``max_num`` for
            every type; ``class_agnostic``, which goes before the argument. ``split_thr`` is
            accepted: no number of boxes changes the result. None keeps all boxes.
        class_agnostic: Suppress across categories too.

    Returns:
        (K, 5), or (K, 6) if rotated: kept boxes and their scores, and their int64 (K,) indices,
        by decreasing score over all categories.
    """
    if nms_cfg is None:
        _check(boxes, scores, boxes.shape[-1])
        return _cut(boxes, *scores.sort(descending=True, stable=True), max_num=-1)
    settings = dict(nms_cfg)
    kind = settings.pop("type", "nms")
    settings.pop("split_thr", None)
    class_agnostic = settings.pop("class_agnostic", class_agnostic)
    max_num = settings.pop("max_num", -1)
    if "iou_thr" in settings:
        warnings.warn("iou_thr is called iou_threshold now", DeprecationWarning, stacklevel=2)
        settings["iou_threshold"] = settings.pop("iou_thr")
    if kind not in _KINDS:
        known = ", ".join(map(repr, _KINDS))
        raise ValueError(f"nms_cfg's type must be one of {known}, got {kind!r}")
    _check(boxes, scores, columns=5 if kind == "nms_rotated" else 4)
    check_vector("idxs", idxs, len(boxes))
    check_same_device(boxes=boxes, idxs=idxs)
    kept_scores, keep = _KINDS[kind](boxes, scores, None if class_agnostic else idxs, **settings)
    return _cut(boxes, kept_scores, keep, max_num)


def _hard(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor | None,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
) -> tuple[Tensor, Tensor]:
    if offset not in (0, 1):
        raise ValueError(f"offset must be 0 or 1, got {offset!r}")
    if score_threshold > 0:
        chosen = (scores > score_threshold).nonzero()[:, 0]
        among = None if idxs is None else idxs[chosen]
        keep = chosen[suppress(boxes[chosen], scores[chosen], among, iou_threshold, offset)]
    else:
        keep = suppress(boxes, scores, idxs, iou_threshold, offset)
    return scores[keep], keep


def _rotated(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor | None,
    iou_threshold: float,
    clockwise: bool = True,
) -> tuple[Tensor, Tensor]:
    turn = 1.0 if clockwise else -1.0
    keep = suppress_rotated(boxes, scores, idxs, iou_threshold, turn)
    return scores[keep], keep


_KINDS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "nms": _hard,
    "soft_nms": decay,
    "nms_rotated": _rotated,
}
"""Type in ``nms_cfg`` -> function of boxes, scores, categories or None, and its settings."""


def _check(boxes: Tensor, scores: Tensor, columns: int = 4) -> None:
    check_boxes("boxes", boxes, columns)
    check_vector("scores", scores, len(boxes))
    check_same_device(boxes=boxes, scores=scores)


def _cut(boxes: Tensor, scores: Tensor, keep: Tensor, max_num: int) -> tuple[Tensor, Tensor]:
    """The kept boxes beside their scores."""
    if max_num > 0:
        scores, keep = scores[:max_num], keep[:max_num]
    return torch.cat((boxes[keep], scores[:, None]), dim=1), keep
