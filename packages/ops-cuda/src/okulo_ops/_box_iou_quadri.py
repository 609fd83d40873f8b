"""Intersection over union of quadrilaterals, and their suppression."""

from typing import Literal

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device, check_vector, in_float32
from okulo_ops._operator import define
from okulo_ops._polygon_overlap import overlap
from okulo_ops._rotated_overlap import output_dtype
from okulo_ops._suppression import kept_of_ranked

__all__ = ["box_iou_quadri", "nms_quadri", "polygon_overlaps"]

_PAIRS_AT_A_TIME = 2**13  # each has some 16 pairs of edges


def box_iou_quadri(
    bboxes1: Tensor,
    bboxes2: Tensor,
    mode: Literal["iou", "iof"] = "iou",
    aligned: bool = False,
) -> Tensor:
    """Overlap of simple quadrilaterals, convex or not, whichever way their corners run.

    Args:
        bboxes1: (N, 8) floating: (x1, y1, ..., x4, y4) in pixels.
        bboxes2: (M, 8), the same; M = N if ``aligned``.
        mode: "iou": shared area over that of the union; "iof": over that of the first.
        aligned: Compare quadrilateral i with quadrilateral i only.

    Returns:
        float32 (float64 for float64) in [0, 1]: (N, M), or (N,) if ``aligned``; 0 where one has an
        area below 1e-14. It carries no gradient.
    """
    check_boxes("bboxes1", bboxes1, columns=8)
    check_boxes("bboxes2", bboxes2, columns=8)
    check_same_device(bboxes1=bboxes1, bboxes2=bboxes2)
    if mode not in ("iou", "iof"):
        raise ValueError(f'mode must be "iou" or "iof", got {mode!r}')
    if aligned and len(bboxes1) != len(bboxes2):
        raise ValueError(
            f"aligned boxes must be equally many, got {len(bboxes1)} and {len(bboxes2)}"
        )
    first, second = in_float32(bboxes1.detach()), in_float32(bboxes2.detach())
    return polygon_overlaps(first, second.to(first.dtype), mode == "iof", aligned)


def nms_quadri(
    dets: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Keep the best quadrilateral of every group that overlaps.

    Args:
        dets: (N, 8) floating: (x1, y1, ..., x4, y4) in pixels.
        scores: (N,).
        iou_threshold: In [0, 1]; one is dropped if its IoU with a kept one is greater.
        labels: (N,) integer; only those of equal labels suppress each other.

    Returns:
        (K, 9) kept quadrilaterals with their scores, and their int64 (K,) indices, by decreasing
        score, equal scores by index. Without any: ``dets`` as it is, and None.
    """
    check_boxes("dets", dets, columns=8)
    check_vector("scores", scores, len(dets))
    check_same_device(dets=dets, scores=scores)
    if labels is not None:
        check_vector("labels", labels, len(dets))
        check_same_device(dets=dets, labels=labels)
    if len(dets) == 0:
        return dets, None
    order = scores.argsort(descending=True, stable=True)
    categories = None if labels is None else labels[order].long()
    keep = order[_nms_quadri(dets.detach()[order], categories, iou_threshold)]
    return torch.cat((dets[keep], scores[keep, None].to(dets.dtype)), dim=1), keep


def _polygons(rows: Tensor) -> Tensor:
    return rows.double().unflatten(-1, (rows.shape[-1] // 2, 2))


def _overlaps_meaning(polygons1: Tensor, polygons2: Tensor, iof: bool, aligned: bool) -> Tensor:
    a, b = _polygons(polygons1), _polygons(polygons2)
    if aligned:
        return overlap(a, b, iof).to(output_dtype(polygons1))
    step = max(1, _PAIRS_AT_A_TIME // max(1, len(b)))  # bounds the memory
    ratios = [overlap(rows[:, None], b, iof) for rows in a.split(step)]
    return torch.cat(ratios).to(output_dtype(polygons1))


def _overlaps_fake(polygons1: Tensor, polygons2: Tensor, iof: bool, aligned: bool) -> Tensor:
    shape = (len(polygons1),) if aligned else (len(polygons1), len(polygons2))
    return polygons1.new_empty(shape, dtype=output_dtype(polygons1))


def _nms_meaning(polygons: Tensor, idxs: Tensor | None, iou_threshold: float) -> Tensor:
    def over(block: slice) -> Tensor:
        return iou_threshold < _overlaps_meaning(polygons, polygons[block], False, False).T

    return kept_of_ranked(over, idxs, len(polygons), polygons)


polygon_overlaps = define(
    "polygon_overlaps(Tensor polygons1, Tensor polygons2, bool iof, bool aligned) -> Tensor",
    _overlaps_meaning,
    _overlaps_fake,
    autocast="float32",
)

_nms_quadri = define(
    "nms_quadri(Tensor polygons, Tensor? idxs, float iou_threshold) -> Tensor",
    _nms_meaning,
    lambda polygons, *_: polygons.new_empty(polygons.shape[0], dtype=torch.bool),
)
