"""Native operators for detection and segmentation with one meaning on every device.

Names are taken from here (``from okulo_ops import nms``); each operator lives in a module
of its own, which is loaded, and PyTorch with it, when the name is first used.

Conventions: continuous pixel coordinates, (0, 0) is the outer corner of the top-left pixel; boxes
are (x0, y0, x1, y1) with width x1 - x0; rotated boxes are (cx, cy, w, h, angle), the angle in
degrees, counter-clockwise with y pointing down; sizes are (height, width).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from okulo_ops.__about__ import __version__

if TYPE_CHECKING:
    from okulo_ops._bbox_overlaps import bbox_overlaps
    from okulo_ops._box_iou_rotated import box_iou_rotated
    from okulo_ops._nms import batched_nms, nms
    from okulo_ops._nms_rotated import batched_nms_rotated, nms_rotated
    from okulo_ops._paste_masks import paste_masks_in_image
    from okulo_ops._roi_align import ROIAlign, RoIAlign, roi_align

__all__ = [
    "__version__",
    "nms",
    "batched_nms",
    "nms_rotated",
    "batched_nms_rotated",
    "box_iou_rotated",
    "bbox_overlaps",
    "roi_align",
    "ROIAlign",
    "RoIAlign",
    "paste_masks_in_image",
]

# The underscore keeps a module from taking the place of the operator of the same name.
_MODULE_OF = {
    "nms": "_nms",
    "batched_nms": "_nms",
    "nms_rotated": "_nms_rotated",
    "batched_nms_rotated": "_nms_rotated",
    "box_iou_rotated": "_box_iou_rotated",
    "bbox_overlaps": "_bbox_overlaps",
    "roi_align": "_roi_align",
    "ROIAlign": "_roi_align",
    "RoIAlign": "_roi_align",
    "paste_masks_in_image": "_paste_masks",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'okulo_ops' has no attribute {name!r}")
    value = getattr(import_module(f"okulo_ops.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
