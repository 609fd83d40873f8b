"""Points in quadrilaterals, and the smallest rectangles around points."""

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["min_area_polygons", "points_in_polygons"]


def min_area_polygons(pointsets: Tensor) -> Tensor:
    """The rectangle of least area, turned as it must be, around each set of nine points.

    Args:
        pointsets: (N, 18) floating: (x1, y1, ..., x9, y9).

    Returns:
        (N, 8) corners (x1, y1, ..., x4, y4) in the order of the outline, dtype of the points.
    """
    check_boxes("pointsets", pointsets, columns=18)
    return _min_area_polygons(pointsets.detach())  # type: ignore[no-any-return]


def points_in_polygons(points: Tensor, polygons: Tensor) -> Tensor:
    """Which points lie in which simple quadrilaterals (a ray to the right crosses an odd number).

    Args:
        points: (B, 2) floating (x, y).
        polygons: (M, 8): (x1, y1, ..., x4, y4).

    Returns:
        (B, M) of the points' dtype, 1 inside and 0 outside. On the outline either may be.
    """
    check_boxes("points", points, columns=2)
    check_boxes("polygons", polygons, columns=8)
    check_same_device(points=points, polygons=polygons)
    return _points_in_polygons(points.detach(), polygons.detach().to(points.dtype))  # type: ignore[no-any-return]


def _rectangle_meaning(pointsets: Tensor) -> Tensor:
    # A side of the least rectangle lies on an edge of the hull: some pair of points has its
    # direction, and the rectangle of any other pair is not smaller.
    points = pointsets.double().unflatten(1, (9, 2))
    pairs = torch.combinations(torch.arange(9, device=points.device))
    along = points[:, pairs[:, 1]] - points[:, pairs[:, 0]]
    x, y = along.unbind(-1)
    length = (x * x + y * y).sqrt()
    flat = length == 0  # upright for points that coincide
    length = torch.where(flat, 1.0, length)
    cos, sin = torch.where(flat, 1.0, x / length), torch.where(flat, 0.0, y / length)
    px, py = points[:, None, :, 0], points[:, None, :, 1]
    u = px * cos[..., None] + py * sin[..., None]
    v = py * cos[..., None] - px * sin[..., None]
    u0, u1, v0, v1 = u.amin(-1), u.amax(-1), v.amin(-1), v.amax(-1)
    best = ((u1 - u0) * (v1 - v0)).argmin(dim=1, keepdim=True)
    u0, u1, v0, v1, cos, sin = (t.gather(1, best) for t in (u0, u1, v0, v1, cos, sin))
    corners = [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]
    values = [t for u, v in corners for t in (u * cos - v * sin, u * sin + v * cos)]
    return torch.cat(values, dim=1).to(pointsets.dtype)


def _inside_meaning(points: Tensor, polygons: Tensor) -> Tensor:
    x, y = in_float32(points)[:, :, None].unbind(1)
    corners = in_float32(polygons).unflatten(1, (4, 2))
    inside = torch.zeros(len(points), len(polygons), dtype=torch.bool, device=points.device)
    for k in range(4):
        (x0, y0), (x1, y1) = corners[:, k].T, corners[:, (k + 1) % 4].T
        beside = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & torch.where(y1 > y0, beside > 0, beside < 0)
    return inside.to(points.dtype)


_min_area_polygons = define(
    "min_area_polygons(Tensor pointsets) -> Tensor",
    _rectangle_meaning,
    lambda pointsets: pointsets.new_empty(len(pointsets), 8),
    autocast="float32",
)

_points_in_polygons = define(
    "points_in_polygons(Tensor points, Tensor polygons) -> Tensor",
    _inside_meaning,
    lambda points, polygons: points.new_empty(len(points), len(polygons)),
    autocast="float32",
)
