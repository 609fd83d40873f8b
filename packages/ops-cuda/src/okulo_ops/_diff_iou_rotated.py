"""IoU of paired rotated boxes, differentiable by their parameters.

The gradients are exact (https://arxiv.org/abs/1908.03851 has the loss); the shared area is
piecewise smooth, and so are they.
"""

import torch
from torch import Tensor

from okulo_ops._checks import check_same_device, in_float32
from okulo_ops._operator import define
from okulo_ops._rotated_overlap import output_dtype, shared_area

__all__ = ["diff_iou_rotated_2d", "diff_iou_rotated_3d"]

_LEAST = 1e-14  # keeps the ratio of boxes without area 0


def diff_iou_rotated_2d(box1: Tensor, box2: Tensor) -> Tensor:
    """IoU of box i of ``box1`` and box i of ``box2``.

    Args:
        box1: (B, N, 5) floating: (x, y, w, h, angle), any unit and radians, clockwise if y points
            down. Other leading dimensions than (B, N) do as well.
        box2: The same shape.

    Returns:
        (B, N) in [0, 1]; float64 for float64, else float32.
    """
    box1, box2 = _checked(box1, box2, 5)
    shared = _shared(box1, box2)
    union = box1[..., 2] * box1[..., 3] + box2[..., 2] * box2[..., 3] - shared
    return shared / union.clamp(min=_LEAST)


def diff_iou_rotated_3d(box3d1: Tensor, box3d2: Tensor) -> Tensor:
    """IoU of the volumes of box i of ``box3d1`` and box i of ``box3d2``.

    Args:
        box3d1: (B, N, 7) floating: (x, y, z, w, h, l, angle), centre, sizes along x, y and z, and
            radians about z from x towards y. Other leading dimensions do as well.
        box3d2: The same shape.

    Returns:
        (B, N) in [0, 1]; float64 for float64, else float32.
    """
    box3d1, box3d2 = _checked(box3d1, box3d2, 7)
    flat = [0, 1, 3, 4, 6]
    z1, l1, z2, l2 = box3d1[..., 2], box3d1[..., 5], box3d2[..., 2], box3d2[..., 5]
    top, bottom = torch.minimum(z1 + l1 / 2, z2 + l2 / 2), torch.maximum(z1 - l1 / 2, z2 - l2 / 2)
    shared = _shared(box3d1[..., flat], box3d2[..., flat]) * (top - bottom).clamp(min=0)
    union = box3d1[..., 3:6].prod(dim=-1) + box3d2[..., 3:6].prod(dim=-1) - shared
    return shared / union.clamp(min=_LEAST)


def _checked(boxes1: Tensor, boxes2: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    if boxes1.ndim < 2 or boxes1.shape[-1] != columns or boxes1.shape != boxes2.shape:
        raise ValueError(
            f"expected boxes of one shape (B, N, {columns}), "
            f"got {tuple(boxes1.shape)} and {tuple(boxes2.shape)}"
        )
    if not (boxes1.is_floating_point() and boxes2.is_floating_point()):
        raise TypeError(
            f"boxes must be floating point, got {boxes1.dtype} and {boxes2.dtype}; "
            "convert with .float()"
        )
    check_same_device(boxes1=boxes1, boxes2=boxes2)
    dtype = torch.promote_types(boxes1.dtype, boxes2.dtype)
    return in_float32(boxes1.to(dtype)), in_float32(boxes2.to(dtype))


def _shared(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    area: Tensor = _rotated_shared_area(boxes1.reshape(-1, 5), boxes2.reshape(-1, 5))
    return area.reshape(boxes1.shape[:-1])


_rotated_shared_area = define(
    "rotated_shared_area(Tensor boxes1, Tensor boxes2) -> Tensor",
    lambda boxes1, boxes2: shared_area(boxes1, boxes2, 1.0).to(output_dtype(boxes1)),
    lambda boxes1, _: boxes1.new_empty(len(boxes1), dtype=output_dtype(boxes1)),
    gradient=["boxes1", "boxes2"],
    autocast="float32",
)
