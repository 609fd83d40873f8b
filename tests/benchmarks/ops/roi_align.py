"""ROIAlign on the pyramid of an 800 x 1216 image: ``hatch run bench:run ops/roi_align.py``."""

import torch
import torchvision.ops
from compare import compare, heading
from torch import Tensor

from okulo_ops import assign_levels, roi_align, roi_align_levels
from okulo_ops._operator import OPERATORS

HEIGHT, WIDTH, CHANNELS, BOXES = 800, 1216, 256, 1000
STRIDES = 4, 8, 16, 32


def boxes(least: float, most: float) -> Tensor:
    """(BOXES, 5) of the first image, their sides between two bounds in pixels."""
    sides = least + (most - least) * torch.rand(BOXES, 2)
    corners = torch.rand(BOXES, 2) * (torch.tensor([WIDTH, HEIGHT]) - sides).clamp(min=0)
    return torch.cat((torch.zeros(BOXES, 1), corners, corners + sides), dim=1)


def level(stride: int, ratio: int) -> None:
    features = torch.randn(1, CHANNELS, HEIGHT // stride, WIDTH // stride, requires_grad=True)
    rois = boxes(14 * stride, min(28 * stride, HEIGHT))
    args = rois, 7, 1 / stride, ratio, True
    name = f"{tuple(features.shape[2:])}, sampling {ratio}"

    def backward(function):
        pooled = function(features, *args)
        grad = torch.randn_like(pooled)
        return lambda: torch.autograd.grad(pooled, features, grad, retain_graph=True)

    fixed = features.detach()
    both = roi_align, torchvision.ops.roi_align
    ways = (lambda: both[0](fixed, *args)), (lambda: both[1](fixed, *args))
    compare(f"{name}, forward, against torchvision", *ways, demand="<= 0.60")
    compare(f"{name}, backward, against torchvision", *map(backward, both), demand="<= 0.80")


def pyramid() -> None:
    maps = [torch.randn(1, CHANNELS, HEIGHT // s, WIDTH // s) for s in STRIDES]
    scales = [1 / s for s in STRIDES]
    rois = boxes(20, 700)
    levels = assign_levels(rois[:, 1:], 2, 5)

    def one_by_one() -> Tensor:
        rows = [(levels == i).nonzero()[:, 0] for i in range(len(maps))]
        parts = [
            roi_align(m, rois[r], 7, s, 2, True) for m, r, s in zip(maps, rows, scales, strict=True)
        ]
        return torch.cat(parts)[torch.cat(rows).argsort()]

    compare(
        "all levels in one call, against level by level",
        lambda: roi_align_levels(maps, rois, levels, 7, scales, 2, True),
        one_by_one,
        demand="< 1.00",
    )


def maximum() -> None:
    features, rois = torch.randn(1, 64, 50, 76), boxes(200, 400)[:200]
    args = features, rois, 1 / 16, 7, 7, 2, True
    compare(
        "maximum, 64 x 50 x 76, 200 boxes, against its meaning",
        lambda: torch.ops.okulo.roi_align_max(*args),
        lambda: OPERATORS["roi_align_max"](*args),
        demand="<= 0.33",
    )


def main() -> None:
    heading(f"ROIAlign, {BOXES} boxes, 7 x 7 bins, {CHANNELS} channels")
    torch.manual_seed(0)
    for stride in STRIDES:
        for ratio in (0, 2):
            level(stride, ratio)
    pyramid()
    maximum()


if __name__ == "__main__":
    main()
