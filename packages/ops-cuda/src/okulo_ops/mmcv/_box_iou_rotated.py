"""Intersection over union of rotated boxes, mmcv's form."""

from typing import Literal

from torch import Tensor

from okulo_ops._box_iou_rotated import rotated_overlaps
from okulo_ops._checks import check_boxes, check_same_device, in_float32
from okulo_ops._rotated_overlap import IOF, IOU

__all__ = ["box_iou_rotated"]


def box_iou_rotated(
    bboxes1: Tensor,
    bboxes2: Tensor,
    mode: Literal["iou", "iof"] = "iou",
    aligned: bool = False,
    clockwise: bool = True,
) -> Tensor:
    """Overlap of rotated boxes.

    Args:
        bboxes1: (N, 5) floating: (cx, cy, w, h, angle), pixels and radians.
        bboxes2: (M, 5), the same; M = N if ``aligned``.
        mode: "iou": shared area over that of the union; "iof": over that of the first box.
        aligned: Compare box i with box i only.
        clockwise: Which way a positive angle turns, seen with y down.

    Returns:
        float32 (float64 for float64 boxes) in [0, 1]: (N, M), or (N,) if ``aligned``; 0 where a
        box has an area below 1e-14. It carries no gradient.
    """
    check_boxes("bboxes1", bboxes1, columns=5)
    check_boxes("bboxes2", bboxes2, columns=5)
    check_same_device(bboxes1=bboxes1, bboxes2=bboxes2)
    if mode not in ("iou", "iof"):
        raise ValueError(f'mode must be "iou" or "iof", got {mode!r}')
    if aligned and len(bboxes1) != len(bboxes2):
        raise ValueError(
            f"aligned boxes must be equally many, got {len(bboxes1)} and {len(bboxes2)}"
        )
    first, second = in_float32(bboxes1.detach()), in_float32(bboxes2.detach())
    turn = 1.0 if clockwise else -1.0
    return rotated_overlaps(
        first, second.to(first.dtype), turn, IOU if mode == "iou" else IOF, aligned
    )
