"""Overlap of axis-aligned boxes: every pair or row by row, IoU or share of the first box."""

import torch
from torch import Tensor

from okulo_ops._box_geometry import area, shared_area
from okulo_ops._checks import check_boxes, check_same_device, in_float32
from okulo_ops._operator import define

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
        area or with a coordinate that is not a number. dtype of the input; float16 and bfloat16
        are computed in float32 and rounded once.
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
    return _bbox_overlaps(first.to(dtype), second.to(dtype), mode == "iof", aligned, offset)  # type: ignore[no-any-return]


def _as_matrix(boxes: Tensor) -> Tensor:
    return boxes.reshape(-1, 4) if isinstance(boxes, Tensor) and boxes.numel() == 0 else boxes


def _meaning(
    bboxes1: Tensor, bboxes2: Tensor, of_first: bool, aligned: bool, offset: int
) -> Tensor:
    first, second = in_float32(bboxes1), in_float32(bboxes2)
    if not aligned:
        first, second = first[:, None], second[None]
    shared = shared_area(first, second, offset)
    whole = area(first, offset)
    if not of_first:
        whole = whole + area(second, offset) - shared
    return torch.where(shared > 0, shared / whole.clamp(min=offset), 0).to(bboxes1.dtype)


def _fake(bboxes1: Tensor, bboxes2: Tensor, of_first: bool, aligned: bool, offset: int) -> Tensor:
    m, n = bboxes1.shape[0], bboxes2.shape[0]
    return bboxes1.new_empty((m,) if aligned else (m, n))


_bbox_overlaps = define(
    "bbox_overlaps(Tensor bboxes1, Tensor bboxes2, bool of_first, bool aligned, int offset)"
    " -> Tensor",
    _meaning,
    _fake,
    gradient=["bboxes1", "bboxes2"],
)
