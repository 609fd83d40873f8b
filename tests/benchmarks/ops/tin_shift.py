"""Frames shifted in time: ``hatch run bench:run ops/tin_shift.py``.

Both ways are bound by memory; the larger result is fresh memory in every run.
"""

from collections.abc import Callable

import torch
from compare import compare, heading

from okulo_ops._operator import OPERATORS


def forward_of(op, x: torch.Tensor, *args) -> Callable[[], object]:
    x = x.detach()
    return lambda: op(x, *args)


def backward_of(op, x: torch.Tensor, *args) -> Callable[[], object]:
    output = op(x, *args)
    grad = torch.randn_like(output)
    return lambda: torch.autograd.grad(output, x, grad, retain_graph=True)


def main() -> None:
    heading("tin_shift of 8 clips of 8 frames, 2 groups, against its meaning")
    torch.manual_seed(0)
    ways = torch.ops.okulo.tin_shift, OPERATORS["tin_shift"]
    shift = torch.randint(-3, 4, (8, 2))
    for channels, pixels in ((64, 56 * 56), (256, 14 * 14)):
        frames = torch.randn(8, 8, channels, pixels, requires_grad=True)
        label = f"{channels} channels of {pixels} pixels"
        forward = [forward_of(op, frames, shift) for op in ways]
        compare(f"{label}, forward", *forward, demand="<= 0.33", seconds=1)
        backward = [backward_of(op, frames, shift) for op in ways]
        compare(f"{label}, backward", *backward, demand="<= 0.33", seconds=1)


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.tin_shift  # noqa: B018  defines the operator
    main()
