"""Operators whose mmcv name means something else in ``okulo_ops``, with mmcv's arguments.

Angles are in radians here; which way they turn is stated by each operator.
"""

from okulo_ops.mmcv._box_iou_rotated import box_iou_rotated
from okulo_ops.mmcv._nms import batched_nms, nms
from okulo_ops.mmcv._nms_rotated import nms_rotated
from okulo_ops.mmcv._roi_align import RoIAlign, roi_align
from okulo_ops.mmcv._roi_align_rotated import RoIAlignRotated, roi_align_rotated
from okulo_ops.mmcv._roi_pool import RoIPool, roi_pool

__all__ = [
    "RoIAlign",
    "RoIAlignRotated",
    "RoIPool",
    "batched_nms",
    "box_iou_rotated",
    "nms",
    "nms_rotated",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
]
