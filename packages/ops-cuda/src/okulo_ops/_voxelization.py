"""Points into voxels of a regular grid, the first points of each (VoxelNet,
https://arxiv.org/abs/1711.06396, section 2.1.1)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, in_float32
from okulo_ops._operator import define

__all__ = ["voxelization", "Voxelization"]


def voxelization(
    points: Tensor,
    voxel_size: Sequence[float],
    coors_range: Sequence[float],
    max_points: int = 35,
    max_voxels: int = 20000,
    deterministic: bool = True,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Assign points to voxels.

    Args:
        points: (N, F) floating; the first three columns are x, y, z.
        voxel_size: Along x, y, z, in units of the coordinates.
        coors_range: (x0, y0, z0, x1, y1, z1); points outside belong to no voxel.
        max_points: Points kept in a voxel, the first ones; -1 for the coordinates alone.
        max_voxels: Voxels kept, those whose first points come first; -1 as above.
        deterministic: Accepted for compatibility; the result always is.

    Returns:
        For -1: (N, 3) int32 voxel of each point as (z, y, x), -1 outside. Else voxels
        (V, max_points, F), filled up with zeros, to which the gradient flows; their (z, y, x)
        (V, 3) int32; and how many points each holds, (V,) int32.
    """
    check_floating("points", points, ("N", "F"))
    if points.shape[1] < 3:
        raise ValueError(f"points must have x, y and z, got {points.shape[1]} columns")
    grid = _grid(voxel_size, coors_range)
    low, size = [float(v) for v in coors_range[:3]], [float(v) for v in voxel_size]
    coordinates: Tensor = _coordinates(points.detach(), low, size, grid)
    if max_points == -1 or max_voxels == -1:
        return coordinates
    if max_points < 1 or max_voxels < 1:
        raise ValueError(
            "max_points and max_voxels must be positive, or -1 for coordinates alone, got "
            f"{max_points} and {max_voxels}"
        )
    index, voxels, count = _group(coordinates, grid[::-1], max_points, max_voxels)
    filled = index >= 0
    rows = points.index_select(0, index.clamp(min=0).flatten()).unflatten(0, index.shape)
    return torch.where(filled[..., None], rows, 0), voxels, count


class Voxelization(nn.Module):
    """:func:`voxelization` with its settings.

    Args:
        voxel_size, point_cloud_range: As voxel_size and coors_range there.
        max_num_points: Points kept in a voxel, -1 for coordinates alone.
        max_voxels: Voxels kept, or a pair: in training and in evaluation.
        deterministic: Accepted for compatibility.
    """

    def __init__(
        self,
        voxel_size: Sequence[float],
        point_cloud_range: Sequence[float],
        max_num_points: int,
        max_voxels: int | tuple[int, int] = 20000,
        deterministic: bool = True,
    ) -> None:
        super().__init__()
        pair = (max_voxels, max_voxels) if isinstance(max_voxels, int) else tuple(max_voxels)
        self.voxel_size = list(voxel_size)
        self.point_cloud_range = list(point_cloud_range)
        self.max_num_points = max_num_points
        self.max_voxels = pair
        self.deterministic = deterministic
        self.grid_size = torch.tensor(_grid(voxel_size, point_cloud_range))
        self.pcd_shape = [*self.grid_size[:2].tolist(), 1][::-1]

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        return voxelization(
            input,
            self.voxel_size,
            self.point_cloud_range,
            self.max_num_points,
            self.max_voxels[0 if self.training else 1],
            self.deterministic,
        )

    def extra_repr(self) -> str:
        return (
            f"voxel_size={self.voxel_size}, point_cloud_range={self.point_cloud_range}, "
            f"max_num_points={self.max_num_points}, max_voxels={self.max_voxels}"
        )


def _grid(size: Sequence[float], limits: Sequence[float]) -> list[int]:
    """Voxels along x, y, z."""
    if len(size) != 3 or len(limits) != 6 or min(size) <= 0:
        raise ValueError(
            f"expected three positive voxel sizes and six limits, got {size} and {limits}"
        )
    grid = [round((limits[i + 3] - limits[i]) / size[i]) for i in range(3)]
    if min(grid) < 1 or math.prod(grid) >= 2**62:
        raise ValueError(
            f"expected from 1 to 2^62 voxels, got a grid of {grid} from sizes {size} and "
            f"limits {limits}"
        )
    return grid


def _coordinates_meaning(
    points: Tensor, low: list[float], size: list[float], grid: list[int]
) -> Tensor:
    xyz = in_float32(points[:, :3])
    cell = ((xyz - xyz.new_tensor(low)) / xyz.new_tensor(size)).floor()
    inside = ((cell >= 0) & (cell < xyz.new_tensor(grid))).all(dim=1, keepdim=True)
    return torch.where(inside, cell, -1).int().flip(1)


_coordinates = define(
    "voxel_coordinates(Tensor points, float[] low, float[] size, int[] grid) -> Tensor",
    _coordinates_meaning,
    lambda points, *_: points.new_empty((points.shape[0], 3), dtype=torch.int32),
)


def _group_meaning(
    coordinates: Tensor, grid: list[int], max_points: int, max_voxels: int
) -> tuple[Tensor, Tensor, Tensor]:
    known = (coordinates[:, 0] >= 0).nonzero()[:, 0]
    z, y, x = coordinates[known].long().unbind(1)
    key, order = ((z * grid[1] + y) * grid[2] + x).sort(stable=True)  # voxel by voxel
    known = known[order]
    begins = torch.ones_like(key, dtype=torch.bool)
    begins[1:] = key[1:] != key[:-1]
    voxel, place = begins.cumsum(0) - 1, torch.arange(len(key), device=key.device)
    first = known[begins]  # of each voxel
    rank = torch.empty_like(first)
    rank[first.argsort()] = torch.arange(len(first), device=first.device)
    slot = place - place[begins][voxel]
    kept = (rank[voxel] < max_voxels) & (slot < max_points)
    index = known.new_full((min(len(first), max_voxels), max_points), -1)
    index[rank[voxel[kept]], slot[kept]] = known[kept]
    return index, coordinates[index[:, 0]], (index >= 0).sum(dim=1, dtype=torch.int32)


def _group_fake(
    coordinates: Tensor, grid: list[int], max_points: int, max_voxels: int
) -> tuple[Tensor, Tensor, Tensor]:
    voxels = torch.library.get_ctx().new_dynamic_size()
    return (
        coordinates.new_empty((voxels, max_points), dtype=torch.int64),
        coordinates.new_empty((voxels, 3)),
        coordinates.new_empty((voxels,), dtype=torch.int32),
    )


_group = define(
    "group_by_voxel(Tensor coordinates, int[] grid, int max_points, int max_voxels)"
    " -> (Tensor, Tensor, Tensor)",
    _group_meaning,
    _group_fake,
)
