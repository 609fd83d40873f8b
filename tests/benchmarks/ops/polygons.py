"""Overlap of quadrilaterals, and of paired boxes: ``hatch run bench:run ops/polygons.py``."""

import torch
from compare import compare, heading
from torch import Tensor

from okulo_ops import box_iou_quadri, diff_iou_rotated_2d, nms_quadri
from okulo_ops._operator import OPERATORS


def quads(count: int, reach: float) -> Tensor:
    """Quadrilaterals some 10 pixels wide whose centres lie in a square of side ``reach``."""
    angle = (torch.rand(count, 4) / 5 + torch.arange(4) / 4) * 2 * torch.pi
    around = torch.stack((angle.cos(), angle.sin()), dim=-1) * (2 + 6 * torch.rand(count, 4, 1))
    return (reach * torch.rand(count, 1, 2) + around).flatten(1)


def main() -> None:
    heading("polygons")
    torch.manual_seed(0)
    overlaps, kept = OPERATORS["polygon_overlaps"], OPERATORS["nms_quadri"]
    for name, reach in (("all overlap", 4), ("spread", 100)):
        a, b = quads(400, reach), quads(400, reach)
        compare(
            f"box_iou_quadri 400x400, {name}, meaning",
            lambda a=a, b=b: box_iou_quadri(a, b),
            lambda a=a, b=b: overlaps(a, b, False, False),
            demand="<= 0.33",
        )
    polygons, scores = quads(1000, 100), torch.rand(1000)
    compare(
        "nms_quadri 1000, meaning",
        lambda: nms_quadri(polygons, scores, 0.3),
        lambda: kept(polygons[scores.argsort(descending=True)], None, 0.3),
        demand="<= 0.33",
    )
    area = OPERATORS["rotated_shared_area"]
    first, second = torch.rand(2, 10_000, 5) * torch.tensor([20, 20, 50, 50, 6]) + 1
    compare(
        "diff_iou_rotated_2d 10000, shared area, meaning",
        lambda: diff_iou_rotated_2d(first[None], second[None]),
        lambda: area(first, second),
        demand="<= 0.33",
    )
    slope = OPERATORS["rotated_shared_area_backward"]
    grad = torch.ones(10_000)
    compare(
        "its gradient, meaning",
        lambda: torch.ops.okulo.rotated_shared_area_backward(grad, first, second),
        lambda: slope(grad, first, second),
        demand="<= 0.33",
    )


if __name__ == "__main__":
    main()
