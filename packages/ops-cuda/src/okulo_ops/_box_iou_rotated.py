"""Intersection over union of rotated boxes."""

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device

__all__ = ["box_iou_rotated"]

_SLACK = (
    1e-5  # a corner or crossing is kept this far outside: one too many is harmless, one less not
)
_PARALLEL = 1e-14
_PAIRS_AT_A_TIME = 2**16  # about 1 kB each


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU of every pair of rotated boxes.

    Args:
        boxes1: (N, 5) floating: (cx, cy, w, h, angle), pixels and degrees counter-clockwise.
        boxes2: (M, 5), the same.

    Returns:
        float32 (N, M) in [0, 1]; 0 where a box has no area. It carries no gradient.
    """
    check_boxes("boxes1", boxes1, columns=5)
    check_boxes("boxes2", boxes2, columns=5)
    check_same_device(boxes1=boxes1, boxes2=boxes2)
    boxes1, boxes2 = boxes1.detach().float(), boxes2.detach().float()
    # torchvision has the kernel since 0.29; it has no fake, so compiled code takes the meaning.
    if not torch.compiler.is_compiling() and has_torchvision_kernel():
        return torch.ops.torchvision.box_iou_rotated(boxes1.contiguous(), boxes2.contiguous())
    return _box_iou_rotated(boxes1, boxes2)


def has_torchvision_kernel() -> bool:
    """Whether the torchvision at hand computes the IoU of rotated boxes."""
    import torchvision  # noqa: F401  (defines torch.ops.torchvision; late: it takes a second)

    return hasattr(torch.ops.torchvision, "box_iou_rotated")


def _box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """The meaning in PyTorch, in slices of ``boxes1`` that bound the memory."""
    step = max(1, _PAIRS_AT_A_TIME // max(1, len(boxes2)))
    return torch.cat([_iou(rows, boxes2) for rows in boxes1.split(step)])


def _iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    area1, area2 = boxes1[:, None, 2:4].prod(dim=2), boxes2[None, :, 2:4].prod(dim=2)
    shared = _intersection(boxes1, boxes2)
    iou = shared / (area1 + area2 - shared)
    return torch.where((area1 > _PARALLEL) & (area2 > _PARALLEL), iou, 0.0).clamp(0, 1)


def _intersection(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Area of the hull of all corners inside the other box and all crossings of edges: (N, M)."""
    # The frame's origin is midway between the centres, so that large coordinates cost no precision.
    half_way = (boxes2[None, :, None, :2] - boxes1[:, None, None, :2]) / 2
    corners1 = _corners(boxes1)[:, None] - half_way  # (N, M, 4, 2)
    corners2 = _corners(boxes2)[None] + half_way
    crossings, crossed = _crossings(corners1, corners2)
    points = torch.cat((corners1, corners2, crossings), dim=2)  # (N, M, 24, 2)
    valid = torch.cat(
        (
            _inside(corners1 - half_way, boxes2[None]),
            _inside(corners2 + half_way, boxes1[:, None]),
            crossed,
        ),
        dim=2,
    )
    return _hull_area(points, valid)


def _corners(boxes: Tensor) -> Tensor:
    """Corners about the centre, (N, 4, 2), in the order of the edges."""
    x, y = (
        boxes.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * boxes[:, None, 2:4]
    ).unbind(2)
    cos, sin = _cos_sin(boxes[:, None])
    return torch.stack((cos * x + sin * y, cos * y - sin * x), dim=2)


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points (N, M, 4, 2), given from the centres of boxes, are in them."""
    x, y = points.unbind(dim=3)
    cos, sin = _cos_sin(boxes[..., None, :])
    local = torch.stack((cos * x - sin * y, sin * x + cos * y), dim=3)
    return (local.abs() <= boxes[..., None, 2:4] * (0.5 + _SLACK)).all(dim=3)


def _crossings(corners1: Tensor, corners2: Tensor) -> tuple[Tensor, Tensor]:
    """Where edges cross, (N, M, 16, 2), and whether they do, (N, M, 16)."""
    start1, start2 = corners1[:, :, :, None], corners2[:, :, None, :]
    edge1 = (corners1.roll(-1, dims=2) - corners1)[:, :, :, None]
    edge2 = (corners2.roll(-1, dims=2) - corners2)[:, :, None, :]
    det = _cross(edge1, edge2)
    parallel = det.abs() <= _PARALLEL
    det = torch.where(parallel, 1.0, det)
    along1 = _cross(start2 - start1, edge2) / det
    along2 = _cross(start2 - start1, edge1) / det
    crossed = ~parallel
    for along in (along1, along2):
        crossed = crossed & (along >= -_SLACK) & (along <= 1 + _SLACK)
    return (start1 + along1[..., None] * edge1).flatten(2, 3), crossed.flatten(2)


def _hull_area(points: Tensor, valid: Tensor) -> Tensor:
    """Area of the convex polygons on the valid ones of points (N, M, 24, 2), in whatever order."""
    points = torch.where(valid[..., None], points, 0.0)
    center = points.sum(dim=2, keepdim=True) / valid.sum(dim=2).clamp(min=1)[..., None, None]
    around = points - center
    turn = torch.atan2(around[..., 1], around[..., 0])
    order = torch.where(valid, turn, torch.inf).argsort(dim=2)
    around = around.gather(2, order[..., None].expand_as(around))
    valid = valid.gather(2, order)
    # What is not valid repeats the first corner, which adds nothing.
    ring = torch.where(valid[..., None], around, around[:, :, :1])
    area = _cross(ring, ring.roll(-1, dims=2)).sum(dim=2) / 2
    return torch.where(valid.any(dim=2), area, 0.0).clamp(min=0)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _cos_sin(boxes: Tensor) -> tuple[Tensor, Tensor]:
    radians = torch.deg2rad(boxes[..., 4])
    return radians.cos(), radians.sin()
