"""Voxels and scores of points: ``hatch run bench:run ops/voxelization.py``."""

import torch
from compare import compare, heading

from okulo_ops import assign_score_withk, chamfer_distance, dynamic_scatter, voxelization
from okulo_ops._operator import OPERATORS

POINTS, CHANNELS = 100_000, 64
SIZE, RANGE = [0.2, 0.2, 4.0], [0.0, -40.0, -3.0, 70.4, 40.0, 1.0]
GRID = [352, 400, 1]


def main() -> None:
    heading("voxels, against their meaning")
    torch.manual_seed(0)
    span = torch.tensor(RANGE[3:]) - torch.tensor(RANGE[:3])
    points = torch.rand(POINTS, 4) * torch.cat((span, torch.ones(1)))
    points[:, :3] += torch.tensor(RANGE[:3])
    ops = torch.ops.okulo
    limits = points, RANGE[:3], SIZE, GRID
    coordinates = ops.voxel_coordinates(*limits)
    group = coordinates, GRID[::-1], 10, 40_000
    coors, feats = coordinates.long(), torch.randn(POINTS, CHANNELS)
    voxels, voxel = ops.unique_voxels(coors)
    for name, args in (
        ("voxel_coordinates", limits),
        ("group_by_voxel", group),
        ("unique_voxels", (coors,)),
        ("greatest_of_voxel", (feats, voxel, voxels)),
    ):
        native, meaning = getattr(ops, name).default, OPERATORS[name]
        compare(
            f"{name} of {POINTS} points",
            lambda native=native, args=args: native(*args),
            lambda meaning=meaning, args=args: meaning(*args),
            demand="<= 0.33",
            seconds=2,
        )
    ends = torch.rand(2, 4096, 3), torch.rand(2, 4096, 3)
    compare(
        "chamfer_distance 4096 and 4096, against cdist and min",
        lambda: chamfer_distance(*ends),
        lambda: [torch.cdist(*ends).min(dim=d) for d in (1, 2)],
        demand="<= 0.33",
        seconds=2,
    )
    index = torch.randint(0, 1024, (2, 1024, 16))
    score, near, own = torch.rand(2, 1024, 16, 8), *torch.randn(2, 2, 1024, 8, 32)
    compare(
        "assign_score_withk 1024 x 16, bank 8, 32 channels",
        lambda: assign_score_withk(score, near, own, index),
        lambda: OPERATORS["assign_score_withk"](score, near, own, index),
        demand="<= 0.33",
        seconds=2,
    )


if __name__ == "__main__":
    dynamic_scatter, voxelization  # noqa: B018  define the operators
    main()
