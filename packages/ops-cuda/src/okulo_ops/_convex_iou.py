"""Overlap of quadrilaterals with the convex hulls of nine points (https://arxiv.org/abs/1904.11490)."""

import torch
from torch import Tensor

from okulo_ops._box_iou_quadri import polygon_overlaps
from okulo_ops._checks import check_boxes, check_same_device, in_float32
from okulo_ops._operator import define
from okulo_ops._polygon_overlap import convex_ring, polygon_area, shared_area
from okulo_ops._rotated_overlap import output_dtype

__all__ = ["convex_giou", "convex_iou"]


def convex_iou(pointsets: Tensor, polygons: Tensor) -> Tensor:
    """IoU of the convex hull of every set of points with every quadrilateral.

    Args:
        pointsets: (N, 18) floating: (x1, y1, ..., x9, y9).
        polygons: (K, 8): (x1, y1, ..., x4, y4).

    Returns:
        float32 (float64 for float64) (N, K) in [0, 1]. It carries no gradient.
    """
    _check(pointsets, polygons)
    points = in_float32(pointsets.detach())
    rings = convex_ring(points.double().unflatten(1, (9, 2))).flatten(1)
    return polygon_overlaps(rings, polygons.detach().double(), False, False).to(points.dtype)


def convex_giou(pointsets: Tensor, polygons: Tensor) -> tuple[Tensor, Tensor]:
    """Generalised IoU of the convex hull of set i with quadrilateral i, and its gradient.

    IoU minus the share of the hull of both that neither covers
    (https://arxiv.org/abs/1902.09630, Algorithm 1).

    Args:
        pointsets: (N, 18) floating: (x1, y1, ..., x9, y9).
        polygons: (N, 8): (x1, y1, ..., x4, y4).

    Returns:
        (N,) in [-1, 1], differentiable by both arguments, and its derivative by each coordinate of
        the set of points, (N, 18), for those who write their own loss.
    """
    _check(pointsets, polygons)
    if len(pointsets) != len(polygons):
        raise ValueError(
            f"sets and polygons must be equally many, got {len(pointsets)} and {len(polygons)}"
        )
    points = in_float32(pointsets)
    polygons = polygons.to(points.dtype)
    giou = _convex_giou(points, polygons)
    ones = torch.ones_like(giou)
    slope = torch.ops.okulo.convex_giou_backward(ones, points.detach(), polygons.detach())
    return giou, slope[0]


def _check(pointsets: Tensor, polygons: Tensor) -> None:
    check_boxes("pointsets", pointsets, columns=18)
    check_boxes("polygons", polygons, columns=8)
    check_same_device(pointsets=pointsets, polygons=polygons)


def _giou_meaning(pointsets: Tensor, polygons: Tensor) -> Tensor:
    points, quads = pointsets.double().unflatten(1, (9, 2)), polygons.double().unflatten(1, (4, 2))
    ring, both = convex_ring(points), convex_ring(torch.cat((points, quads), dim=1))
    shared = shared_area(ring, quads)
    union = polygon_area(ring) + polygon_area(quads) - shared
    hull = polygon_area(both)
    giou = shared / union.clamp(min=1e-14) - (hull - union) / hull.clamp(min=1e-14)
    return giou.to(output_dtype(pointsets))


_convex_giou = define(
    "convex_giou(Tensor pointsets, Tensor polygons) -> Tensor",
    _giou_meaning,
    lambda pointsets, _: pointsets.new_empty(len(pointsets), dtype=output_dtype(pointsets)),
    gradient=["pointsets", "polygons"],
    autocast="float32",
)
