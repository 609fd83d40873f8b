"""RoIPool and deformable RoI pooling: ``hatch run bench:run ops/roi_pool.py``."""

import torch
import torchvision.ops
from compare import compare, heading
from torch import Tensor

from okulo_ops import deform_roi_pool, roi_pool
from okulo_ops._operator import OPERATORS


def boxes(count: int, least: float, most: float) -> Tensor:
    """(count, 5) in an 800 x 1216 image, their sides between two bounds in pixels."""
    sides = least + (most - least) * torch.rand(count, 2)
    corners = torch.rand(count, 2) * (torch.tensor([1216, 800]) - sides)
    return torch.cat((torch.zeros(count, 1), corners, corners + sides), dim=1)


def pool() -> None:
    features, rois = torch.randn(1, 512, 38, 50), boxes(300, 50, 600)
    compare(
        "roi_pool 512x38x50, 300 boxes, 7x7, against torchvision",
        lambda: roi_pool(features, rois, 7, 1 / 16),
        lambda: torchvision.ops.roi_pool(features, rois, 7, 1 / 16),
        demand="<= 1.00",
    )
    compare(
        "the same, unrounded, against its meaning",
        lambda: torch.ops.okulo.roi_pool(features, rois, 1 / 16, 7, 7, False),
        lambda: OPERATORS["roi_pool"](features, rois, 1 / 16, 7, 7, False),
        demand="<= 0.33",
    )


def deform() -> None:
    features = torch.randn(1, 256, 50, 76, requires_grad=True)
    rois, offset = boxes(200, 200, 400), torch.randn(200, 2, 7, 7, requires_grad=True)
    args = features, rois, offset, 7, 7, 1 / 16, 2, 0.1
    deform_roi_pool(*args[:3], 7)  # defines the operator
    ways = torch.ops.okulo.deform_roi_pool, OPERATORS["deform_roi_pool"]
    name = "deform_roi_pool 256x50x76, 200 boxes, 7x7"

    def backward(function):
        pooled = function(*args)
        grad = torch.randn_like(pooled)
        return lambda: torch.autograd.grad(pooled, (features, offset), grad, retain_graph=True)

    with torch.no_grad():
        calls = (lambda: ways[0](*args)), (lambda: ways[1](*args))
        compare(f"{name}, against its meaning", *calls, demand="<= 0.33")
    compare("its gradient, against that of the meaning", *map(backward, ways), demand="<= 0.33")


def main() -> None:
    heading("RoIPool and deformable RoI pooling")
    torch.manual_seed(0)
    pool()
    deform()


if __name__ == "__main__":
    main()
