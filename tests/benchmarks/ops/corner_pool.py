"""Running maxima of CornerNet: ``hatch run bench:run ops/corner_pool.py``.

The gradient is bound by memory: ours scans the input again, the meaning keeps an index of 8 bytes
for every cell. Adding input and gradient, the least that has to be read and written, takes 0.16 to
0.27 of the time of the meaning.
CrissCrossAttention has no benchmark: it is matrix products of PyTorch.
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
    heading("corner_pool of 2 x 128 x 128 x 128, against its meaning")
    torch.manual_seed(0)
    ways = torch.ops.okulo.corner_pool, OPERATORS["corner_pool"]
    x = torch.randn(2, 128, 128, 128, requires_grad=True)
    modes = {"top": (2, True), "bottom": (2, False), "left": (3, True), "right": (3, False)}
    for mode, args in modes.items():
        forward = [forward_of(op, x, *args) for op in ways]
        compare(f"{mode}, forward", *forward, demand="<= 0.33", seconds=1)
        backward = [backward_of(op, x, *args) for op in ways]
        compare(f"{mode}, backward", *backward, demand="<= 0.33", seconds=1)


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.corner_pool  # noqa: B018  defines the operator
    main()
