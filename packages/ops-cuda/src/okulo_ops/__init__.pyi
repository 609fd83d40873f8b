from .__about__ import __version__ as __version__
from ._bbox_overlaps import bbox_overlaps as bbox_overlaps
from ._box_iou_rotated import box_iou_rotated as box_iou_rotated
from ._focal_loss import SigmoidFocalLoss as SigmoidFocalLoss
from ._focal_loss import sigmoid_focal_loss as sigmoid_focal_loss
from ._furthest_points import PointsSampler as PointsSampler
from ._furthest_points import furthest_point_sample as furthest_point_sample
from ._furthest_points import furthest_point_sample_with_dist as furthest_point_sample_with_dist
from ._group_points import GroupAll as GroupAll
from ._group_points import QueryAndGroup as QueryAndGroup
from ._group_points import gather_points as gather_points
from ._group_points import grouping_operation as grouping_operation
from ._group_points import three_interpolate as three_interpolate
from ._ms_deform_attn import ms_deform_attn as ms_deform_attn
from ._multi_scale_deformable_attention import (
    MultiScaleDeformableAttention as MultiScaleDeformableAttention,
)
from ._nms import batched_nms as batched_nms
from ._nms import nms as nms
from ._nms_rotated import batched_nms_rotated as batched_nms_rotated
from ._nms_rotated import nms_rotated as nms_rotated
from ._paste_masks import paste_masks_in_image as paste_masks_in_image
from ._point_neighbors import ball_query as ball_query
from ._point_neighbors import knn as knn
from ._point_neighbors import three_nn as three_nn
from ._point_sample import SimpleRoIAlign as SimpleRoIAlign
from ._point_sample import abs_img_point_to_rel_img_point as abs_img_point_to_rel_img_point
from ._point_sample import point_sample as point_sample
from ._point_sample import rel_roi_point_to_abs_img_point as rel_roi_point_to_abs_img_point
from ._point_sample import rel_roi_point_to_rel_img_point as rel_roi_point_to_rel_img_point
from ._roi_align import ROIAlign as ROIAlign
from ._roi_align import RoIAlign as RoIAlign
from ._roi_align import roi_align as roi_align
from ._roi_align_rotated import ROIAlignRotated as ROIAlignRotated
from ._roi_align_rotated import roi_align_rotated as roi_align_rotated
