"""Pooling of the points inside of boxes in space."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_boxes, check_floating, check_same_device, in_float32
from okulo_ops._points_in_boxes import box_frames, inside_boxes, to_box_frame

__all__ = ["RoIAwarePool3d", "RoIPointPool3d"]


class RoIAwarePool3d(nn.Module):
    """Features of points, pooled in the cells of a raster of each box (arXiv 1907.03670, Sec. 3.2).

    Args:
        out_size: Cells along x, y and z of the box; one number for all three.
        max_pts_per_voxel: How many points of a cell count, the first ones.
        mode: "max" or "avg".
    """

    def __init__(
        self,
        out_size: int | tuple[int, int, int],
        max_pts_per_voxel: int = 128,
        mode: Literal["max", "avg"] = "max",
    ) -> None:
        super().__init__()
        if mode not in ("max", "avg"):
            raise ValueError(f'mode must be "max" or "avg", got {mode!r}')
        self.out_size = (out_size,) * 3 if isinstance(out_size, int) else tuple(out_size)
        self.max_pts_per_voxel = max_pts_per_voxel
        self.mode = mode

    def forward(self, rois: Tensor, pts: Tensor, pts_feature: Tensor) -> Tensor:
        """Pool; differentiable by the features.

        Args:
            rois: (N, 7) floating (x, y, z, dx, dy, dz, heading), z that of the bottom, radians.
            pts: (P, 3) floating x, y, z.
            pts_feature: (P, C).

        Returns:
            (N, *out_size, C); 0 in cells without a point.
        """
        check_boxes("rois", rois, columns=7)
        check_floating("pts", pts, ("P", 3))
        check_floating("pts_feature", pts_feature, (len(pts), "C"))
        check_same_device(rois=rois, pts=pts, pts_feature=pts_feature)
        point, cell = self._points_of_cells(in_float32(rois.detach()), in_float32(pts.detach()))
        cells = len(rois) * math.prod(self.out_size)
        pooled = pts_feature.new_zeros(cells, pts_feature.shape[1]).scatter_reduce(
            0,
            cell[:, None].expand(-1, pts_feature.shape[1]),
            pts_feature[point],
            "amax" if self.mode == "max" else "mean",
            include_self=False,
        )
        return pooled.view(len(rois), *self.out_size, pts_feature.shape[1])

    def _points_of_cells(self, rois: Tensor, pts: Tensor) -> tuple[Tensor, Tensor]:
        """Points and the cells that they lie in, by cell, then by point."""
        frames = box_frames(rois)
        roi, point = inside_boxes(pts[None], frames[None])[0].T.nonzero(as_tuple=True)
        half = frames[roi, 3:6]
        counts = torch.tensor(self.out_size, device=pts.device)
        share = (to_box_frame(pts[point], frames[roi]) + half) / (2 * half)
        x, y, z = (share * counts).long().clamp(min=0).minimum(counts - 1).unbind(-1)
        cell = ((roi * counts[0] + x) * counts[1] + y) * counts[2] + z
        cell, order = cell.sort(stable=True)
        rank = torch.arange(len(cell), device=pts.device) - torch.searchsorted(cell, cell)
        counted = rank < self.max_pts_per_voxel
        return point[order][counted], cell[counted]


class RoIPointPool3d(nn.Module):
    """A fixed number of the points inside of each box (PointRCNN, arXiv 1812.04244, Sec. 3.2).

    Args:
        num_sampled_points: The first so many points are taken; if there are fewer, over again.
    """

    def __init__(self, num_sampled_points: int = 512) -> None:
        super().__init__()
        self.num_sampled_points = num_sampled_points

    def forward(
        self, points: Tensor, point_features: Tensor, boxes3d: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sample; differentiable by points and features.

        Args:
            points: (B, P, 3) floating x, y, z.
            point_features: (B, P, C).
            boxes3d: (B, M, 7) floating (x, y, z, dx, dy, dz, heading), z that of the bottom.

        Returns:
            (B, M, num_sampled_points, 3 + C), 0 for a box without points, and int32 (B, M): 1 for
            such a box, else 0.
        """
        check_floating("points", points, ("B", "P", 3))
        clouds, count = points.shape[:2]
        check_floating("point_features", point_features, (clouds, count, "C"))
        check_floating("boxes3d", boxes3d, (clouds, "M", 7))
        check_same_device(points=points, point_features=point_features, boxes3d=boxes3d)
        values = torch.cat((points, point_features), dim=2)
        frames = box_frames(in_float32(boxes3d.detach()))
        inside = inside_boxes(points.detach(), frames).transpose(1, 2)
        found = inside.sum(dim=2, keepdim=True)
        if count == 0:
            shape = (*inside.shape[:2], self.num_sampled_points, values.shape[2])
            return values.new_zeros(shape), (found == 0).int()[..., 0]
        first = (~inside).byte().argsort(dim=2, stable=True)
        turns = torch.arange(self.num_sampled_points, device=points.device) % found.clamp(min=1)
        index = first.gather(2, turns)
        image = torch.arange(clouds, device=points.device)[:, None, None]
        sampled = torch.where((found > 0)[..., None], values[image, index], 0)
        return sampled, (found == 0).int()[..., 0]
