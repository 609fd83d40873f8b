"""Areas of polygons and of what two share, in PyTorch; computed in float64, differentiable.

The shared area is a sum over pairs of edges of what lies below both (trapezoids down to one base
line, signed by the directions of the edges): exact for any two simple polygons, convex or not,
whichever way they run, and continuous, so that coinciding edges and corners need no tolerance.
"""

import torch
from torch import Tensor

__all__ = ["convex_ring", "overlap", "polygon_area", "shared_area"]

_NO_AREA = 1e-14  # polygons with less overlap nothing


def overlap(polygons1: Tensor, polygons2: Tensor, iof: bool) -> Tensor:
    """IoU, or shared area over that of the first, of polygons (..., n, 2) that broadcast."""
    area1, area2 = polygon_area(polygons1), polygon_area(polygons2)
    least = torch.minimum(area1, area2)
    shared = torch.minimum(shared_area(polygons1, polygons2), least)
    whole = area1 if iof else area1 + area2 - shared
    # What is less than rounding only touches.
    some = (least >= _NO_AREA) & (shared > 1e-12 * whole)
    return torch.where(some, shared / torch.where(some, whole, 1.0), 0.0)


def polygon_area(polygons: Tensor) -> Tensor:
    """Area inside polygons (..., n, 2)."""
    around = polygons - polygons[..., :1, :]
    x, y = around.unbind(-1)
    return (x * y.roll(-1, -1) - y * x.roll(-1, -1)).sum(dim=-1).abs() / 2


def shared_area(polygons1: Tensor, polygons2: Tensor) -> Tensor:
    """Area that polygons (..., n, 2) and (..., m, 2) share; leading dimensions broadcast."""
    origin = polygons1[..., :1, :].detach()
    ax, ay, arun, aclimb = _edges(polygons1 - origin, -1)
    bx, by, brun, bclimb = _edges(polygons2 - origin, -2)
    left = torch.maximum(ax.minimum(ax + arun), bx.minimum(bx + brun))
    right = torch.minimum(ax.maximum(ax + arun), bx.maximum(bx + brun))
    width = (right - left).clamp(min=0) * arun.sign() * brun.sign()

    def heights(x: Tensor) -> tuple[Tensor, Tensor]:
        a = ay + ((x - ax) / _nonzero(arun)).clamp(0, 1) * aclimb
        b = by + ((x - bx) / _nonzero(brun)).clamp(0, 1) * bclimb
        return b, a - b

    (b0, above0), (b1, above1) = heights(left), heights(right)
    lower = (b0 + b1) / 2 + _mean_of_negative(above0, above1)
    return (width * lower).sum(dim=(-1, -2)).abs()


def convex_ring(points: Tensor) -> Tensor:
    """Convex hulls of points (..., n, 2) as rings (..., 2n, 2) with repeated corners."""
    rank = points[..., 1].argsort(dim=-1, stable=True)
    rank = rank.gather(-1, points[..., 0].gather(-1, rank).argsort(dim=-1, stable=True))
    points = points.gather(-2, rank[..., None].expand_as(points))
    i, j, k = torch.combinations(torch.arange(points.shape[-2]), 3).to(points.device).unbind(1)
    first, middle, last = (points.detach()[..., at, :] for at in (i, j, k))
    u, v = middle - first, last - first
    side = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    lower, upper = (_chain(points, j, inside) for inside in (side < 0, side > 0))
    return torch.cat((lower, upper.flip(-2)), dim=-2)


def _chain(points: Tensor, middle: Tensor, inside: Tensor) -> Tensor:
    """One side of a hull: a corner inside is replaced by the one before it."""
    count = points.shape[-2]
    seen = torch.zeros(points.shape[:-1], dtype=torch.int64, device=points.device)
    dropped = seen.scatter_add(-1, middle.expand(inside.shape), inside.long()) > 0
    at = torch.arange(count, device=points.device)
    kept = torch.where(dropped, 0, at).cummax(dim=-1).values
    return points.gather(-2, kept[..., None].expand_as(points))


def _edges(polygons: Tensor, other: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Starts and directions of edges, x, y, run and climb; ``other`` is the other's dimension."""
    x, y = polygons.unbind(-1)
    run, climb = x.roll(-1, -1) - x, y.roll(-1, -1) - y
    x, y, run, climb = (t.unsqueeze(other) for t in (x, y, run, climb))
    return x, y, run, climb


def _mean_of_negative(f0: Tensor, f1: Tensor) -> Tensor:
    """Mean of the negative part along a line from f0 to f1."""
    crossing = (f0 / _nonzero(f0 - f1)).clamp(0, 1)
    middle = torch.where(f0 < 0, torch.where(f1 < 0, 1.0, crossing), 1 + crossing) / 2
    return f0.clamp(max=0) * middle + f1.clamp(max=0) * (1 - middle)


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1e-100, 1.0, x)
