"""Deformable convolution against torchvision's: ``hatch run bench:run ops/deform_conv.py``."""

import torch
from compare import compare, heading
from torchvision.ops import deform_conv2d as of_torchvision

from okulo_ops import deform_conv2d, modulated_deform_conv2d

CHANNELS, HEIGHT, WIDTH = 256, 100, 152


def main() -> None:
    heading("deformable convolution")
    torch.manual_seed(0)
    x = torch.randn(1, CHANNELS, HEIGHT, WIDTH)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3) / 48
    offset = torch.randn(1, 18, HEIGHT, WIDTH)
    mask = torch.rand(1, 9, HEIGHT, WIDTH)
    name = f"{CHANNELS}->{CHANNELS} 3x3 at {HEIGHT}x{WIDTH}"
    with torch.no_grad():
        compare(
            f"version 1, {name} forward, against torchvision",
            lambda: deform_conv2d(x, offset, weight, 1, 1),
            lambda: of_torchvision(x, offset, weight, None, 1, 1),
            demand="<= 1.00",
        )
        compare(
            f"version 2, {name} forward, against torchvision",
            lambda: modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1),
            lambda: of_torchvision(x, offset, weight, None, 1, 1, 1, mask),
            demand="<= 1.00",
        )
    inputs = [t.requires_grad_() for t in (x, offset, mask, weight)]
    ours = modulated_deform_conv2d(*inputs, None, 1, 1)
    other = of_torchvision(x, offset, weight, None, 1, 1, 1, mask)
    slope = torch.randn_like(ours)
    compare(
        f"version 2, {name} backward, against torchvision",
        lambda: torch.autograd.grad(ours, inputs, slope, retain_graph=True),
        lambda: torch.autograd.grad(other, inputs, slope, retain_graph=True),
        demand="<= 1.00",
    )


if __name__ == "__main__":
    main()
