"""Overlap of axis-aligned boxes: every pair or row by row, IoU or share of the first box."""

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device, in_float32

__all__ = ["bbox_overlaps"]


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", aligned: bool = False, offset: int = 0
) -> Tensor:
    """Overlap of boxes.

    Args:
        bboxes1: (M, 4) floating, (x0, y0, x1, y1); an empty tensor of any shape counts as (0, 4).
        bboxes2: (N, 4), the same; N = M if ``aligned``.
        mode: ``"iou"``, intersection over union, or ``"iof"``, intersection over the first box.
        aligned: Row i with row i instead of every pair.
        offset: 0, or 1 for the old habit of counting a box's last pixel: width x1 - x0 + 1.

    Returns:
        (M, N), or (M,) if ``aligned``; 0 where the boxes do not overlap, also for boxes without
        area. dtype of the input; float16 and bfloat16 are computed in float32 and rounded once.
    """
    if mode not in ("iou", "iof"):
        raise ValueError(f"mode must be 'iou' or 'iof', got {mode!r}")
    if offset not in (0, 1):
        raise ValueError(f"offset must be 0 or 1, got {offset!r}")
    first, second = _as_matrix(bboxes1), _as_matrix(bboxes2)
    check_boxes("bboxes1", first)
    check_boxes("bboxes2", second)
    check_same_device(bboxes1=first, bboxes2=second)
    if aligned and len(first) != len(second):
        raise ValueError(
            f"aligned boxes must be equally many, got {len(first)} and {len(second)}; "
            "use aligned=False for every pair"
        )
    dtype = torch.promote_types(first.dtype, second.dtype)
    first, second = in_float32(first.to(dtype)), in_float32(second.to(dtype))
    area1, area2 = _area(first, offset), _area(second, offset)
    if not aligned:
        first, second = first[:, None], second[None]
        area1, area2 = area1[:, None], area2[None]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low + offset).clamp(min=0).prod(dim=-1)
    whole = area1 + area2 - shared if mode == "iou" else area1.expand_as(shared)
    return torch.where(shared > 0, shared / whole.clamp(min=offset), 0).to(dtype)


def _as_matrix(boxes: Tensor) -> Tensor:
    return boxes.reshape(-1, 4) if isinstance(boxes, Tensor) and boxes.numel() == 0 else boxes


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
