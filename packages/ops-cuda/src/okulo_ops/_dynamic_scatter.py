"""Features of points reduced over voxels (https://arxiv.org/abs/1910.06528, section 3.1)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["dynamic_scatter", "DynamicScatter"]


def dynamic_scatter(
    feats: Tensor, coors: Tensor, reduce_type: Literal["max", "mean"] = "max"
) -> tuple[Tensor, Tensor]:
    """Reduce the features of the points that share a voxel.

    Args:
        feats: (N, C) floating.
        coors: (N, D) int32 or int64 voxel of each point; a row with a negative entry is dropped.
        reduce_type: "max", whose gradient goes to the first of equal points, or "mean".

    Returns:
        (V, C), dtype of ``feats``, and (V, D), dtype of ``coors``, the voxels that hold points in
        lexicographic order.
    """
    check_floating("feats", feats, ("N", "C"))
    if coors.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"coors must be int32 or int64, got {coors.dtype}")
    if coors.ndim != 2 or len(coors) != len(feats) or coors.shape[1] == 0:
        raise ValueError(f"coors must have shape ({len(feats)}, D), got {tuple(coors.shape)}")
    if reduce_type not in ("max", "mean"):
        raise ValueError(f'reduce_type must be "max" or "mean", got {reduce_type!r}')
    check_same_device(feats=feats, coors=coors)
    voxels, voxel = _voxels(coors.long())
    if reduce_type == "max":
        return feats.gather(0, _greatest(feats.detach(), voxel, voxels)), voxels.to(coors.dtype)
    known = (voxel >= 0)[:, None]
    rows = torch.where(known, in_float32(feats), 0)
    at = voxel.clamp(min=0)
    total = rows.new_zeros(len(voxels), feats.shape[1]).index_add(0, at, rows)
    count = rows.new_zeros(len(voxels), 1).index_add(0, at, known.to(rows.dtype))
    return (total / count).to(feats.dtype), voxels.to(coors.dtype)


class DynamicScatter(nn.Module):
    """:func:`dynamic_scatter` of points.

    Args:
        voxel_size, point_cloud_range: Of the grid that ``coors`` is of; kept for reference.
        average_points: Mean instead of maximum.
    """

    def __init__(
        self,
        voxel_size: Sequence[float],
        point_cloud_range: Sequence[float],
        average_points: bool,
    ) -> None:
        super().__init__()
        self.voxel_size = voxel_size
        self.point_cloud_range = point_cloud_range
        self.average_points = average_points

    def forward(self, points: Tensor, coors: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, C); coors (N, 3), or (N, 4) whose first column is the index into the batch."""
        return dynamic_scatter(points, coors, "mean" if self.average_points else "max")

    def extra_repr(self) -> str:
        return (
            f"voxel_size={self.voxel_size}, point_cloud_range={self.point_cloud_range}, "
            f"average_points={self.average_points}"
        )


def _voxels_meaning(coors: Tensor) -> tuple[Tensor, Tensor]:
    known = (coors >= 0).all(dim=1)
    voxels, inverse = torch.unique(coors[known], dim=0, return_inverse=True)
    voxel = torch.full_like(coors[:, 0], -1)
    voxel[known] = inverse
    return voxels, voxel


def _voxels_fake(coors: Tensor) -> tuple[Tensor, Tensor]:
    voxels = torch.library.get_ctx().new_dynamic_size()
    return coors.new_empty((voxels, coors.shape[1])), coors.new_empty((coors.shape[0],))


_voxels = define("unique_voxels(Tensor coors) -> (Tensor, Tensor)", _voxels_meaning, _voxels_fake)


def _greatest_meaning(feats: Tensor, voxel: Tensor, voxels: Tensor) -> Tensor:
    known = (voxel >= 0).nonzero()[:, 0]
    rows = in_float32(feats[known])
    at = voxel[known, None].expand(-1, feats.shape[1])
    best = rows.new_full((len(voxels), feats.shape[1]), -torch.inf)
    best = best.scatter_reduce(0, at, rows, "amax")
    place = torch.where(rows == best.gather(0, at), known[:, None], len(feats))
    first = torch.full_like(best, len(feats), dtype=torch.int64)
    return first.scatter_reduce(0, at, place, "amin")


_greatest = define(
    "greatest_of_voxel(Tensor feats, Tensor voxel, Tensor voxels) -> Tensor",
    _greatest_meaning,
    lambda feats, voxel, voxels: feats.new_empty(
        (voxels.shape[0], feats.shape[1]), dtype=torch.int64
    ),
)
