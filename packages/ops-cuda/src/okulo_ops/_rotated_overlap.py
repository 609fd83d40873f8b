"""The area that two rotated boxes share, in PyTorch; what is done here is done in float64.

The area is a boundary integral (Green's theorem). In the frame of the first box, the outline of
the second is clamped to the first: what is outside moves onto the border, where it encloses
nothing, so the clamped outline encloses the shared area. Every step is continuous: identical,
touching and nearly parallel boxes need no tolerance.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["IOU", "IOF", "overlap", "shared_area", "output_dtype"]

IOU, IOF = 0, 1
_NO_AREA = 1e-14  # boxes with less overlap nothing
_TOUCHING = 1e-12  # boxes that reach into each other by less than this share only touch


class _Box(NamedTuple):
    """Centre, half of the sides, cosine and sine of the angle, clockwise with y down."""

    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor
    cos: Tensor
    sin: Tensor


def output_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def overlap(boxes1: Tensor, boxes2: Tensor, turn: float, mode: int) -> Tensor:
    """IoU (mode IOU), or shared area over that of the first box (IOF), of boxes that broadcast."""
    a, b = _box(boxes1, turn), _box(boxes2, turn)
    area1, area2 = 4 * a.w * a.h, 4 * b.w * b.h
    shared = _shared_area(a, b).clamp(min=0).minimum(area1).minimum(area2)
    whole = area1 + area2 - shared if mode == IOU else area1
    return torch.where(shared > 0, shared / whole, 0.0).to(output_dtype(boxes1))


def shared_area(boxes1: Tensor, boxes2: Tensor, turn: float) -> Tensor:
    """Shared area of boxes (..., 5) that broadcast; float64, differentiable by both.

    Args:
        boxes1, boxes2: (cx, cy, w, h, angle).
        turn: Clockwise radians (y down) in one unit of the angle.
    """
    return _shared_area(_box(boxes1, turn), _box(boxes2, turn))


def _box(boxes: Tensor, turn: float) -> _Box:
    x, y, w, h, angle = boxes.double().unbind(-1)
    half = 0.5 * (w * h >= _NO_AREA)
    angle = angle * turn
    return _Box(x, y, half * w.abs(), half * h.abs(), angle.cos(), angle.sin())


def _shared_area(a: _Box, b: _Box) -> Tensor:
    x, y = b.x - a.x, b.y - a.y
    seen = b._replace(
        x=a.cos * x + a.sin * y,
        y=a.cos * y - a.sin * x,
        cos=a.cos * b.cos + a.sin * b.sin,
        sin=a.cos * b.sin - a.sin * b.cos,
    )
    ux, uy = seen.w * seen.cos, seen.w * seen.sin
    vx, vy = -(seen.h * seen.sin), seen.h * seen.cos
    x, y = seen.x, seen.y
    area = -(
        _under_clamped_edge(x - ux - vx, y - uy - vy, ux + ux, uy + uy, a.w, a.h)
        + _under_clamped_edge(x + ux - vx, y + uy - vy, vx + vx, vy + vy, a.w, a.h)
        + _under_clamped_edge(x + ux + vx, y + uy + vy, -(ux + ux), -(uy + uy), a.w, a.h)
        + _under_clamped_edge(x - ux + vx, y - uy + vy, -(vx + vx), -(vy + vy), a.w, a.h)
    )
    return torch.where(_are_apart(a, seen), 0.0, area)


def _under_clamped_edge(
    x0: Tensor, y0: Tensor, run: Tensor, climb: Tensor, width: Tensor, height: Tensor
) -> Tensor:
    """The integral of y over x along an edge clamped to |x| <= width, |y| <= height."""
    per_x, per_y = 1 / _nonzero(run), 1 / _nonzero(climb)
    w = torch.where(run < 0, -width, width)
    h = torch.where(climb < 0, -height, height)
    enter, leave = ((-w - x0) * per_x).clamp(0, 1), ((w - x0) * per_x).clamp(0, 1)
    # Between them y is flat, then sloping, then flat: the middle of the slope.
    turning = ((-h - y0) * per_y).clamp(enter, leave) + ((h - y0) * per_y).clamp(enter, leave)
    turning = 0.5 * turning
    start = (y0 + enter * climb).clamp(-height, height)
    end = (y0 + leave * climb).clamp(-height, height)
    return run * (start * (turning - enter) + end * (leave - turning))


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1e-100, 1.0, x)


def _are_apart(a: _Box, seen: _Box) -> Tensor:
    """Whether one of the four directions of the sides separates the boxes."""
    cos, sin, reach = seen.cos.abs(), seen.sin.abs(), 1 - _TOUCHING
    x, y = seen.cos * seen.x + seen.sin * seen.y, seen.cos * seen.y - seen.sin * seen.x
    return (
        (seen.x.abs() >= reach * (a.w + seen.w * cos + seen.h * sin))
        | (seen.y.abs() >= reach * (a.h + seen.w * sin + seen.h * cos))
        | (x.abs() >= reach * (seen.w + a.w * cos + a.h * sin))
        | (y.abs() >= reach * (seen.h + a.w * sin + a.h * cos))
    )
