"""Which boxes in space the points of a cloud lie in."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = [
    "box_frames",
    "inside_boxes",
    "points_in_boxes_all",
    "points_in_boxes_cpu",
    "points_in_boxes_part",
    "to_box_frame",
]


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether each point lies in each box of its cloud.

    A point on the top or bottom of a box is inside, one on the four sides is not.

    Args:
        points: (B, M, 3) floating x, y, z.
        boxes: (B, T, 7) floating: (x, y, z, dx, dy, dz, heading), z that of the bottom; radians
            from the x axis towards the y axis.

    Returns:
        int32 (B, M, T): 1 inside, 0 outside.
    """
    return _inside(*_points_and_frames(points, boxes))


points_in_boxes_cpu = points_in_boxes_all
"""The same on any device; the name is kept."""


def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """The first box that each point lies in; arguments of :func:`points_in_boxes_all`.

    Returns:
        int32 (B, M): index of the box, -1 for a point in none.
    """
    return _first_box(*_points_and_frames(points, boxes))


def _points_and_frames(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    check_floating("points", points, ("B", "M", 3))
    check_floating("boxes", boxes, ("B", "T", 7))
    check_same_device(points=points, boxes=boxes)
    if len(points) != len(boxes):
        raise ValueError(
            f"points and boxes must have the same B, got {len(points)} and {len(boxes)} clouds"
        )
    dtype = torch.promote_types(in_float32(points).dtype, in_float32(boxes).dtype)
    return points.detach().to(dtype), box_frames(boxes.detach().to(dtype))


def box_frames(boxes: Tensor) -> Tensor:
    """(..., 7) boxes with z at the bottom -> (..., 8): centre, half sizes, cos and sin."""
    x, y, bottom, dx, dy, dz, heading = boxes.unbind(-1)
    half = dx / 2, dy / 2, dz / 2
    return torch.stack((x, y, bottom + half[2], *half, heading.cos(), heading.sin()), dim=-1)


def to_box_frame(points: Tensor, frames: Tensor) -> Tensor:
    """Points (..., 3) relative to the centre and the axes of frames (..., 8) that broadcast."""
    cx, cy, cz, _, _, _, cos, sin = frames.unbind(-1)
    x, y, z = points.unbind(-1)
    dx, dy, dz = x - cx, y - cy, z - cz
    return torch.stack((dx * cos + dy * sin, dy * cos - dx * sin, dz), dim=-1)


def inside_boxes(points: Tensor, frames: Tensor) -> Tensor:
    """bool (B, M, T) of points (B, M, 3) and frames (B, T, 8)."""
    points, frames = in_float32(points)[:, :, None], in_float32(frames)[:, None]
    x, y, z = to_box_frame(points, frames).abs().unbind(-1)
    return (x < frames[..., 3]) & (y < frames[..., 4]) & (z <= frames[..., 5])


def _first_box_meaning(points: Tensor, frames: Tensor) -> Tensor:
    boxes = frames.shape[1]
    numbers = torch.arange(boxes, device=points.device, dtype=torch.int32)
    found = torch.where(inside_boxes(points, frames), numbers, boxes)
    none = found.new_full((*found.shape[:2], 1), boxes)
    first = torch.cat((found, none), dim=2).amin(dim=2)
    return torch.where(first < boxes, first, -1)


_inside = define(
    "points_in_boxes(Tensor points, Tensor frames) -> Tensor",
    lambda points, frames: inside_boxes(points, frames).int(),
    lambda points, frames: points.new_empty(
        (*points.shape[:2], frames.shape[1]), dtype=torch.int32
    ),
)
_first_box = define(
    "points_in_boxes_part(Tensor points, Tensor frames) -> Tensor",
    _first_box_meaning,
    lambda points, frames: points.new_empty(points.shape[:2], dtype=torch.int32),
)
