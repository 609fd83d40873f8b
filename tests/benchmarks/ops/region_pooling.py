"""Pooling along rotated boxes and borders: ``hatch run bench:run ops/region_pooling.py``."""

from typing import Any

import torch
from compare import compare, heading
from torch import Tensor

import okulo_ops
from okulo_ops._operator import OPERATORS

CHANNELS, SIDE, BOXES, BINS = 256, 128, 400, 7


def against_meaning(name: str, operator: str, features: Tensor, *args: Any) -> None:
    """Forward and backward of a native kernel against its meaning in eager PyTorch."""
    functions = getattr(torch.ops.okulo, operator), OPERATORS[operator]
    forward = [lambda f=f: f(features, *args) for f in functions]
    compare(f"{operator} {name}, forward", *forward, demand="<= 0.33", seconds=1)
    leaves = [features.clone().requires_grad_()]
    if operator == "prroi_pool":  # the one with a gradient of the boxes
        leaves.append(args[0].clone().requires_grad_())
    outputs = [f(*leaves, *args[len(leaves) - 1 :]) for f in functions]
    outputs = [out[0] if isinstance(out, tuple) else out for out in outputs]
    grad = torch.randn(outputs[0].shape)
    backward = [
        lambda out=out: torch.autograd.grad(out, leaves, grad, retain_graph=True) for out in outputs
    ]
    compare(f"{operator} {name}, backward", *backward, demand="<= 0.33", seconds=1)


def rotated_boxes(count: int) -> Tensor:
    place, size = torch.rand(count, 2) * SIDE * 8, 16 + torch.rand(count, 2) * 112
    return torch.cat((torch.zeros(count, 1), place, size, torch.rand(count, 1) * 6.28), dim=1)


def curves(count: int) -> Tensor:
    start = torch.rand(count, 1, 2) * SIDE * 6
    along = torch.linspace(0, 128, 4)[:, None] * torch.tensor([1.0, 0.3])
    wobble = torch.rand(count, 4, 2) * 16
    upper = start + along + wobble
    points = torch.cat((upper, (upper + torch.tensor([0.0, 32.0])).flip(1)), dim=1)
    return torch.cat((torch.zeros(count, 1), points.flatten(1)), dim=1)


def main() -> None:
    heading(f"pooling of {CHANNELS}x{SIDE}x{SIDE} features")
    torch.manual_seed(0)
    features = torch.randn(1, CHANNELS, SIDE, SIDE)
    for ratio in (2, 0):
        args = rotated_boxes(BOXES), BINS, BINS, 1 / 8, ratio, True
        against_meaning(f"{BOXES}, {ratio} samples", "roi_align_rotated", features, *args)
    against_meaning("100 curves", "bezier_align", features, curves(100), 8, 32, 1 / 8, 0, True)
    boxes = rotated_boxes(SIDE * SIDE)[:, 1:].reshape(1, SIDE, SIDE, 5)
    against_meaning("5 points", "rotated_feature_align", features, boxes, 1 / 8, 5)
    upright = rotated_boxes(100)[:, :5]
    upright[:, 3:] += upright[:, 1:3]
    against_meaning("100 boxes", "prroi_pool", features, upright, BINS, BINS, 1 / 8)
    border = upright[None, :, 1:].repeat(1, 20, 1) / 8
    against_meaning("2000 boxes, pool 10", "border_align", features, border, 10)


if __name__ == "__main__":
    # Names define their operators when they are first used.
    okulo_ops.roi_align_rotated, okulo_ops.bezier_align, okulo_ops.rotated_feature_align  # noqa: B018
    okulo_ops.prroi_pool, okulo_ops.border_align  # noqa: B018
    main()
