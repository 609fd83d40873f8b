"""Convolution at a tenth of the pixels, against all: ``hatch run bench:run ops/masked_conv.py``."""

import torch
from compare import compare, heading

from okulo_ops import masked_conv2d
from okulo_ops._operator import OPERATORS

CHANNELS, HEIGHT, WIDTH = 256, 100, 168


def main() -> None:
    heading("masked convolution")
    torch.manual_seed(0)
    x = torch.randn(1, CHANNELS, HEIGHT, WIDTH)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3) / 48
    bias = torch.zeros(CHANNELS)
    chances = torch.rand(1, HEIGHT, WIDTH)
    meaning = OPERATORS["masked_conv2d"]
    for share in (0.01, 0.1, 0.3):
        mask = (chances < share).float()
        compare(
            f"{CHANNELS}->{CHANNELS} 3x3 at {share:.0%} of {HEIGHT}x{WIDTH}, against its meaning",
            lambda mask=mask: masked_conv2d(x, mask, weight, bias, 1),
            lambda mask=mask: meaning(x, mask, weight, bias, [1, 1], [1, 1]),
            demand="<= 0.33",
            seconds=2.0,
        )


if __name__ == "__main__":
    with torch.no_grad():
        main()
