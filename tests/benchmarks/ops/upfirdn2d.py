"""Resampling by filters, bias and activation: ``hatch run bench:run ops/upfirdn2d.py``."""

import torch
from compare import compare, heading

from okulo_ops import fused_bias_leakyrelu, upfirdn2d
from okulo_ops._operator import OPERATORS

SHAPE = 1, 128, 128, 128


def main() -> None:
    heading("upfirdn2d, against its meaning")
    torch.manual_seed(0)
    x = torch.randn(SHAPE)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 64
    native, meaning = torch.ops.okulo.upfirdn2d.default, OPERATORS["upfirdn2d"]
    backward = torch.ops.okulo.upfirdn2d_backward.default
    for name, up, down, pad in (
        ("up 2", 2, 1, [2, 1, 2, 1]),
        ("down 2", 1, 2, [1, 1, 1, 1]),
        ("same size", 1, 1, [2, 1, 2, 1]),
    ):
        args = x, kernel, [up, up], [down, down], pad
        compare(
            f"{name}, 4 x 4 taps, {SHAPE}",
            lambda args=args: native(*args),
            lambda args=args: meaning(*args),
            demand="<= 0.33",
            seconds=2,
        )
        leaf = x.clone().requires_grad_()
        out = meaning(leaf, *args[1:])
        grad = torch.randn_like(out)
        compare(
            f"{name} backward, against autograd",
            lambda args=args, grad=grad: backward(grad, *args),
            lambda out=out, leaf=leaf, grad=grad: torch.autograd.grad(
                out, leaf, grad, retain_graph=True
            ),
            demand="<= 0.33",
            seconds=2,
        )
    # Bound by memory: the meaning goes over it four times.
    bias = torch.randn(SHAPE[1])
    fused = OPERATORS["fused_bias_leakyrelu"]
    compare(
        f"fused_bias_leakyrelu {SHAPE}",
        lambda: fused_bias_leakyrelu(x, bias),
        lambda: fused(x, bias, 0.2, 2**0.5),
        demand="<= 0.33",
        seconds=2,
    )


if __name__ == "__main__":
    upfirdn2d  # noqa: B018  defines the operator
    main()
