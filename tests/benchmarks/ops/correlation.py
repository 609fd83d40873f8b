"""Cost volumes as in FlowNet and PWC-Net: ``hatch run bench:run ops/correlation.py``."""

import torch
from compare import compare, heading

import okulo_ops
from okulo_ops._operator import OPERATORS

SHAPE = 1, 128, 48, 64


def main() -> None:
    heading("correlation")
    torch.manual_seed(0)
    a, b = torch.randn(SHAPE), torch.randn(SHAPE)
    layer = okulo_ops.Correlation(max_displacement=4)
    meaning, settings = OPERATORS["correlation"], (1, 4, 1, 0, 1, 1)
    name = f"81 displacements, {'x'.join(map(str, SHAPE))}"
    with torch.no_grad():
        compare(
            f"{name} forward, against its meaning",
            lambda: layer(a, b),
            lambda: meaning(a, b, *settings),
            demand="<= 0.33",
        )
    inputs = [t.requires_grad_() for t in (a, b)]
    ours, other = layer(a, b), meaning(a, b, *settings)
    slope = torch.randn_like(ours)
    compare(
        f"{name} backward, against its meaning",
        lambda: torch.autograd.grad(ours, inputs, slope, retain_graph=True),
        lambda: torch.autograd.grad(other, inputs, slope, retain_graph=True),
        demand="<= 0.33",
    )


if __name__ == "__main__":
    main()
