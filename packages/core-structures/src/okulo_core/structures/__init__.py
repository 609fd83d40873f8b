"""Boxes, masks, keypoints and the tables that hold them, in continuous pixel coordinates."""

from okulo_core.structures.bit_masks import BitMasks
from okulo_core.structures.box_mode import BoxMode
from okulo_core.structures.boxes import Boxes
from okulo_core.structures.image_list import ImageList
from okulo_core.structures.instances import Instances
from okulo_core.structures.keypoints import Keypoints, heatmaps_to_keypoints
from okulo_core.structures.pairwise import (
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_iou_rotated,
    pairwise_point_box_distance,
)
from okulo_core.structures.polygon_masks import (
    PolygonMasks,
    polygon_area,
    polygons_to_bitmask,
    rasterize_polygons_within_box,
)
from okulo_core.structures.roi_masks import ROIMasks
from okulo_core.structures.rotated_boxes import RotatedBoxes

__all__ = [
    "BoxMode",
    "Boxes",
    "RotatedBoxes",
    "BitMasks",
    "PolygonMasks",
    "ROIMasks",
    "Keypoints",
    "Instances",
    "ImageList",
    "pairwise_intersection",
    "pairwise_iou",
    "pairwise_iou_rotated",
    "pairwise_ioa",
    "matched_pairwise_iou",
    "pairwise_point_box_distance",
    "polygon_area",
    "polygons_to_bitmask",
    "rasterize_polygons_within_box",
    "heatmaps_to_keypoints",
]
