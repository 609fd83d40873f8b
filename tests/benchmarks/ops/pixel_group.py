"""Growing text kernels, 184 x 320: ``hatch run bench:run ops/pixel_group.py``."""

import torch
from compare import compare, heading

from okulo_ops import pixel_group
from okulo_ops._operator import OPERATORS

HEIGHT, WIDTH = 184, 320


def main() -> None:
    heading("growing kernels, against plain Python: one pixel depends on the one before")
    torch.manual_seed(0)
    label = torch.zeros(HEIGHT, WIDTH, dtype=torch.int32)
    for i in range(1, 21):
        y, x = 8 * i, 15 * i
        label[y : y + 4, x : x + 9] = i
    mask = torch.rand(HEIGHT, WIDTH) < 0.9
    grow = mask, torch.randn(HEIGHT, WIDTH, 4), label, label > 0, 21, 3.0
    masks = torch.stack([torch.rand(HEIGHT, WIDTH) < 1 - 0.1 * i for i in range(7)])
    for name, args in (("pixel_group", grow), ("contour_expand", (masks, label, 5, 21))):
        native, meaning = getattr(torch.ops.okulo, name).default, OPERATORS[name]
        compare(
            f"{name} of 20 kernels",
            lambda native=native, args=args: native(*args),
            lambda meaning=meaning, args=args: meaning(*args),
            demand="<= 0.33",
            seconds=1,
        )


if __name__ == "__main__":
    pixel_group  # noqa: B018  defines the operators
    main()
