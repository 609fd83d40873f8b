"""Pooling along rotated boxes and borders: ``hatch run bench:run ops/region_pooling.py``."""

import torch
from compare import compare, heading
from torch import Tensor

import okulo_ops
from okulo_ops._operator import OPERATORS

CHANNELS, SIDE, BOXES, BINS = 256, 128, 400, 7


def against_meaning(name: str, operator: str, features: Tensor, *args: object) -> None:
    """Forward and backward of a native kernel against its meaning in eager PyTorch."""
    functions = getattr(torch.ops.okulo, operator), OPERATORS[operator]
    forward = [lambda f=f: f(features, *args) for f in functions]
    compare(f"{operator} {name}, forward", *forward, demand="<= 0.33", seconds=3)
    leaf = features.clone().requires_grad_()
    outputs = [f(leaf, *args) for f in functions]
    outputs = [out[0] if isinstance(out, tuple) else out for out in outputs]
    grad = torch.randn(outputs[0].shape)
    backward = [
        lambda out=out: torch.autograd.grad(out, leaf, grad, retain_graph=True) for out in outputs
    ]
    compare(f"{operator} {name}, backward", *backward, demand="<= 0.33", seconds=3)


def rotated_boxes(count: int) -> Tensor:
    place, size = torch.rand(count, 2) * SIDE * 8, 16 + torch.rand(count, 2) * 112
    return torch.cat((torch.zeros(count, 1), place, size, torch.rand(count, 1) * 6.28), dim=1)


def main() -> None:
    heading(f"pooling of {CHANNELS}x{SIDE}x{SIDE} features")
    torch.manual_seed(0)
    features = torch.randn(1, CHANNELS, SIDE, SIDE)
    for ratio in (2, 0):
        args = rotated_boxes(BOXES), BINS, BINS, 1 / 8, ratio, True
        against_meaning(f"{BOXES}, {ratio} samples", "roi_align_rotated", features, *args)


if __name__ == "__main__":
    okulo_ops.roi_align_rotated  # noqa: B018  names define their operators when they are first used
    main()
