"""COCO's evaluation of detections: matching image by image, then precision and recall.

Letters: T thresholds of IoU, R of recall, K categories, A area ranges, M limits on detections,
I images, D detections and G truths of one image and category.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from okulo_ops._operator import define

__all__ = [
    "COCOevalAccumulate",
    "COCOevalEvaluateImages",
    "ImageEvaluation",
    "InstanceAnnotation",
]


@dataclass(frozen=True)
class InstanceAnnotation:
    """A truth or a detection. Identifiers start at 1: 0 means unmatched (COCO's own rule)."""

    id: int
    score: float
    area: float
    is_crowd: bool
    ignore: bool


@dataclass(frozen=True)
class ImageEvaluation:
    """One image, category and area range.

    detection_matches: int64 (T, D), identifier of the truth, 0 if unmatched.
    detection_ignores: bool (T, D). detection_scores: float64 (D,), decreasing.
    ground_truth_ignores: bool (G,), the ignored last.
    """

    detection_matches: Tensor
    detection_ignores: Tensor
    detection_scores: Tensor
    ground_truth_ignores: Tensor


def COCOevalEvaluateImages(
    area_ranges: Sequence[Sequence[float]],
    max_detections: int,
    iou_thresholds: Sequence[float],
    ious: Sequence[Sequence[Any]],
    gts: Sequence[Sequence[Sequence[InstanceAnnotation]]],
    dts: Sequence[Sequence[Sequence[InstanceAnnotation]]],
) -> list[ImageEvaluation]:
    """Match the detections of every image and category in every range of areas.

    Detections choose by decreasing score, equal ones in order, each the free truth of greatest IoU,
    at least the threshold, the last of equals. Truths that are ignored, by their flag or their
    area, are taken only if no other can be; crowds can be taken many times. A detection is ignored
    if its truth is, or if it has none and its area is outside the range.

    Args:
        area_ranges: A pairs of least and greatest area.
        max_detections: How many detections of an image and category count.
        iou_thresholds: T numbers.
        ious: For each image and category (D, G) numbers; rows by decreasing score of the
            detections, columns in the order of ``gts``.
        gts: Truths by image and category.
        dts: Detections by image and category.

    Returns:
        K * A * I evaluations, those of one category and range next to each other.
    """
    thresholds = torch.tensor(list(iou_thresholds), dtype=torch.float64)
    return [
        _evaluate(low, high, max_detections, thresholds, ious[i][k], gts[i][k], dts[i][k])
        for k in range(len(gts[0]) if gts else 0)
        for low, high in area_ranges
        for i in range(len(gts))
    ]


def _evaluate(
    low: float,
    high: float,
    max_detections: int,
    thresholds: Tensor,
    ious: Any,
    gts: Sequence[InstanceAnnotation],
    dts: Sequence[InstanceAnnotation],
) -> ImageEvaluation:
    ignores = [g.ignore or not low <= g.area <= high for g in gts]
    order = sorted(range(len(gts)), key=ignores.__getitem__)
    ignored = torch.tensor([ignores[g] for g in order], dtype=torch.bool)
    crowd = torch.tensor([gts[g].is_crowd for g in order], dtype=torch.bool)
    ranked = sorted(dts, key=lambda d: -d.score)[:max_detections]
    shape = len(ranked), len(gts)
    if len(gts) and len(ious) < len(ranked):
        raise ValueError(f"ious must have a row per detection, {len(ranked)}, got {len(ious)}")
    overlaps = thresholds.new_empty(shape)
    if overlaps.numel():
        overlaps = torch.as_tensor(ious, dtype=torch.float64)[: len(ranked)]
    found = _coco_match(overlaps[:, order], ignored, crowd, thresholds)
    # One entry more stands for no truth: index -1.
    ids = torch.tensor([*(gts[g].id for g in order), 0])
    outside = torch.tensor([not low <= d.area <= high for d in ranked], dtype=torch.bool)
    matches = ids[found]
    of_truth = torch.cat((ignored, ignored.new_zeros(1)))[found]
    return ImageEvaluation(
        detection_matches=matches,
        detection_ignores=of_truth | ((matches == 0) & outside),
        detection_scores=torch.tensor([d.score for d in ranked], dtype=torch.float64),
        ground_truth_ignores=ignored,
    )


def COCOevalAccumulate(params: Any, evaluations: Sequence[ImageEvaluation]) -> dict[str, Any]:
    """Precision at given recalls, and final recall, over all images.

    Args:
        params: Object with ``iouThrs``, ``recThrs``, ``catIds``, ``areaRng``, ``maxDets`` and
            ``imgIds``, as pycocotools' ``Params``.
        evaluations: What :func:`COCOevalEvaluateImages` returned for them.

    Returns:
        ``params``, ``date``, ``counts`` [T, R, K, A, M], and as flat lists ``precision`` and
        ``scores`` of these five axes and ``recall`` [T, K, A, M]. -1 where there is no truth.
    """
    recalls = torch.tensor([float(r) for r in params.recThrs], dtype=torch.float64)
    images = len(params.imgIds)
    counts = [
        len(axis)
        for axis in (params.iouThrs, recalls, params.catIds, params.areaRng, params.maxDets)
    ]
    t, _, k, a, m = counts
    if len(evaluations) != k * a * images:
        raise ValueError(
            f"expected {k * a * images} evaluations, categories times area ranges times images, "
            f"got {len(evaluations)}"
        )
    precision, scores = recalls.new_full(counts, -1), recalls.new_full(counts, -1)
    recall = recalls.new_full((t, k, a, m), -1)
    for cell in range(k * a):
        part = evaluations[cell * images : (cell + 1) * images]
        truths = sum(int((~e.ground_truth_ignores).sum()) for e in part)
        for limit, most in enumerate(params.maxDets if truths else ()):
            at = (slice(None), cell // a, cell % a, limit)
            p, s, r = _curves(part, int(most), truths, recalls)
            recall[at] = r
            precision[:, :, cell // a, cell % a, limit] = p
            scores[:, :, cell // a, cell % a, limit] = s
    return {
        "params": params,
        "counts": counts,
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
        "precision": precision.flatten().tolist(),
        "recall": recall.flatten().tolist(),
        "scores": scores.flatten().tolist(),
    }


def _curves(
    part: Sequence[ImageEvaluation], most: int, truths: int, recalls: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Precision (T, R), score (T, R) and final recall (T,) of one category, range and limit."""
    score = torch.cat([e.detection_scores[:most] for e in part])
    order = score.argsort(descending=True, stable=True)
    score = score[order]
    matches = torch.cat([e.detection_matches[:, :most] for e in part], dim=1)[:, order]
    counted = ~torch.cat([e.detection_ignores[:, :most] for e in part], dim=1)[:, order]
    rows = []
    for match, counts in zip(matches, counted, strict=True):
        hits = (counts & (match != 0)).double().cumsum(0)
        reached = hits / truths
        precision = hits / counts.cumsum(0).clamp(min=1)
        precision = precision.flip(0).cummax(0).values.flip(0)  # the best at this recall or more
        first = torch.searchsorted(reached, recalls)
        none = recalls.new_zeros(1)
        final = reached[-1] if len(reached) else none[0]
        rows.append((torch.cat((precision, none))[first], torch.cat((score, none))[first], final))
    p, s, r = (torch.stack(column) for column in zip(*rows, strict=True))
    return p, s, r


def _meaning(ious: Tensor, ignored: Tensor, crowd: Tensor, thresholds: Tensor) -> Tensor:
    """Every detection in turn, all truths at once.

    The loop over truths that COCO describes takes the last of the greatest IoU among the free ones
    that are not ignored, and among the others only if there is none.
    """
    matches = ignored.new_empty(len(thresholds), len(ious), dtype=torch.int64)
    place = torch.arange(ious.shape[1], device=ious.device)
    for t, threshold in enumerate(thresholds.clamp(max=1 - 1e-10)):
        taken = torch.zeros_like(ignored)
        for d, iou in enumerate(ious):
            able = (iou >= threshold) & (crowd | ~taken)
            able = able & (~ignored | ~(able & ~ignored).any())
            best = torch.where(able, iou, -1).amax() if len(iou) else threshold
            last = torch.where(able & (iou == best), place, -1)
            match = last.amax() if len(iou) else -1
            matches[t, d] = match
            taken = taken | (place == match)
    return matches


_coco_match = define(
    "coco_match(Tensor ious, Tensor ignored, Tensor crowd, Tensor thresholds) -> Tensor",
    _meaning,
    lambda ious, ignored, crowd, thresholds: ignored.new_empty(
        thresholds.shape[0], ious.shape[0], dtype=torch.int64
    ),
)
