"""Boxes, masks, keypoints and the tables that hold them, in continuous pixel coordinates."""

from okulo_core.structures.box_mode import BoxMode
from okulo_core.structures.boxes import Boxes
from okulo_core.structures.image_list import ImageList
from okulo_core.structures.instances import Instances
from okulo_core.structures.pairwise import (
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)

__all__ = [
    "BoxMode",
    "Boxes",
    "ImageList",
    "Instances",
    "pairwise_intersection",
    "pairwise_iou",
    "pairwise_ioa",
    "matched_pairwise_iou",
    "pairwise_point_box_distance",
]
