"""Neighbours, sampling and grouping of points: ``hatch run bench:run ops/points.py``."""

import torch
from compare import compare, heading

from okulo_ops import (
    ball_query,
    furthest_point_sample,
    furthest_point_sample_with_dist,
    grouping_operation,
    knn,
    three_interpolate,
    three_nn,
)
from okulo_ops._operator import OPERATORS

BATCH, POINTS, CENTERS, CHANNELS, GROUP = 2, 8192, 1024, 64, 32


def by_distance_matrix(points: torch.Tensor, centers: torch.Tensor, k: int) -> torch.Tensor:
    return torch.cdist(centers, points).topk(k, largest=False).indices


def main() -> None:
    heading("points, against what eager PyTorch offers")
    torch.manual_seed(0)
    points, centers = torch.rand(BATCH, POINTS, 3), torch.rand(BATCH, CENTERS, 3)
    features = torch.randn(BATCH, CHANNELS, POINTS)
    coarse = torch.randn(BATCH, CHANNELS, CENTERS)
    index = torch.randint(0, POINTS, (BATCH, CENTERS, GROUP))
    three = torch.randint(0, CENTERS, (BATCH, POINTS, 3))
    weight = torch.rand(BATCH, POINTS, 3)
    table = torch.cdist(points[:, :2048], points[:, :2048])
    ends = torch.arange(1, BATCH + 1)
    stacked = points.flatten(0, 1), centers.flatten(0, 1), ends * POINTS, ends * CENTERS
    rows = [
        (
            "three_nn 8192 of 1024, against cdist and topk",
            lambda: three_nn(points, centers),
            lambda: by_distance_matrix(centers, points, 3),
        ),
        (
            "knn 32 of 8192 for 1024, against cdist and topk",
            lambda: knn(32, points, centers),
            lambda: by_distance_matrix(points, centers, 32),
        ),
        (
            "ball_query 32 of 8192 for 1024",
            lambda: ball_query(0, 0.2, 32, points, centers),
            lambda: OPERATORS["ball_query"](*stacked, 0.0, 0.2, 32),
        ),
        (
            "furthest_point_sample 1024 of 8192",
            lambda: furthest_point_sample(points, 1024),
            lambda: OPERATORS["furthest_point_sample"](points, 1024),
        ),
        (
            "furthest_point_sample_with_dist 512 of 2048",
            lambda: furthest_point_sample_with_dist(table, 512),
            lambda: OPERATORS["furthest_point_sample_with_dist"](table, 512),
        ),
        (
            "three_interpolate 64 x 8192 of 1024",
            lambda: three_interpolate(coarse, three, weight),
            lambda: OPERATORS["three_interpolate"](coarse, three, weight),
        ),
    ]
    for name, ours, other in rows:
        compare(name, ours, other, demand="<= 0.33", seconds=2)
    grad = torch.randn(BATCH, CHANNELS, POINTS)
    native = torch.ops.okulo.three_interpolate_backward
    coarse.requires_grad_()
    weight.requires_grad_()
    out = OPERATORS["three_interpolate"](coarse, three, weight)
    compare(
        "three_interpolate backward, against autograd",
        lambda: native(grad, coarse.detach(), three, weight.detach()),
        lambda: torch.autograd.grad(out, (coarse, weight), grad, retain_graph=True),
        demand="<= 0.33",
        seconds=2,
    )
    # Filling the result with zeros takes 0.41 of the time of gather on one thread, reading the
    # gradient about as long: three times faster is out of reach.
    compare(
        "grouping_operation 64 x 1024 x 32, against gather",
        lambda: grouping_operation(features, index),
        lambda: OPERATORS["group_points"](features, index.flatten(1)),
        demand="<= 0.33",
        seconds=2,
    )
    features.requires_grad_()
    flat = index.flatten(1)
    grouped = OPERATORS["group_points"](features, flat)
    grad_of_group = torch.randn_like(grouped)
    compare(
        "grouping_operation backward, against autograd",
        lambda: torch.ops.okulo.group_points_backward(grad_of_group, features.detach(), flat),
        lambda: torch.autograd.grad(grouped, features, grad_of_group, retain_graph=True),
        demand="<= 0.33",
        seconds=2,
    )


if __name__ == "__main__":
    main()
