"""Quadrilaterals, sets of points and paired boxes: ``hatch run bench:run ops/polygons.py``."""

from collections.abc import Callable

import torch
from compare import compare, heading
from torch import Tensor

from okulo_ops import (
    box_iou_quadri,
    convex_giou,
    min_area_polygons,
    nms_quadri,
    points_in_polygons,
)
from okulo_ops._diff_iou_rotated import diff_iou_rotated_2d  # noqa: F401  defines the operator
from okulo_ops._operator import OPERATORS


def quads(count: int, reach: float) -> Tensor:
    """Quadrilaterals some 10 pixels wide whose centres lie in a square of side ``reach``."""
    angle = (torch.rand(count, 4) / 5 + torch.arange(4) / 4) * 2 * torch.pi
    around = torch.stack((angle.cos(), angle.sin()), dim=-1) * (2 + 6 * torch.rand(count, 4, 1))
    return (reach * torch.rand(count, 1, 2) + around).flatten(1)


def main() -> None:
    heading("polygons")
    torch.manual_seed(0)
    quadrilaterals()
    point_sets()
    paired_boxes()


def against_meaning(title: str, ours: Callable[[], object], meaning: Callable[[], object]) -> None:
    compare(f"{title}, meaning", ours, meaning, demand="<= 0.33", seconds=1)


def quadrilaterals() -> None:
    overlaps, kept = OPERATORS["polygon_overlaps"], OPERATORS["nms_quadri"]
    for name, reach in (("all overlap", 4), ("spread", 100)):
        a, b = quads(300, reach), quads(300, reach)
        against_meaning(
            f"box_iou_quadri 300x300, {name}",
            lambda a=a, b=b: box_iou_quadri(a, b),
            lambda a=a, b=b: overlaps(a, b, False, False),
        )
    polygons, scores = quads(600, 100), torch.rand(600)
    against_meaning(
        "nms_quadri 600",
        lambda: nms_quadri(polygons, scores, 0.3),
        lambda: kept(polygons[scores.argsort(descending=True)], None, 0.3),
    )
    points, some = 100 * torch.rand(2000, 2), quads(500, 100)
    inside = OPERATORS["points_in_polygons"]
    against_meaning(
        "points_in_polygons 2000x500",
        lambda: points_in_polygons(points, some),
        lambda: inside(points, some),
    )


def point_sets() -> None:
    sets, polygons = 10 * torch.rand(2000, 18), quads(2000, 10)
    rectangle, giou = OPERATORS["min_area_polygons"], OPERATORS["convex_giou"]
    slope = OPERATORS["convex_giou_backward"]
    against_meaning(
        "min_area_polygons 2000", lambda: min_area_polygons(sets), lambda: rectangle(sets)
    )
    ones = torch.ones(2000)
    against_meaning(
        "convex_giou 2000, value and gradient",
        lambda: convex_giou(sets, polygons),
        lambda: (giou(sets, polygons), slope(ones, sets, polygons)),
    )


def paired_boxes() -> None:
    area, slope = OPERATORS["rotated_shared_area"], OPERATORS["rotated_shared_area_backward"]
    first, second = torch.rand(2, 10_000, 5) * torch.tensor([20, 20, 50, 50, 6]) + 1
    against_meaning(
        "diff_iou_rotated_2d 10000, shared area",
        lambda: torch.ops.okulo.rotated_shared_area(first, second),
        lambda: area(first, second),
    )
    grad = torch.ones(10_000)
    against_meaning(
        "its gradient",
        lambda: torch.ops.okulo.rotated_shared_area_backward(grad, first, second),
        lambda: slope(grad, first, second),
    )


if __name__ == "__main__":
    main()
