"""Content-aware reassembly of a pyramid's levels: ``hatch run bench:run ops/carafe.py``."""

import torch
from compare import compare, heading

from okulo_ops._operator import OPERATORS

CHANNELS, KERNEL, GROUPS, SCALE = 256, 5, 1, 2


def main() -> None:
    heading("carafe of 256 channels, 5 x 5 window, twice the size, against its meaning")
    torch.manual_seed(0)
    native, meaning = torch.ops.okulo.carafe, OPERATORS["carafe"]
    for height, width in ((25, 42), (50, 84)):
        features = torch.randn(1, CHANNELS, height, width, requires_grad=True)
        masks = torch.randn(1, KERNEL**2 * GROUPS, SCALE * height, SCALE * width)
        masks = masks.softmax(1).requires_grad_()

        def forward(op, inputs=(features, masks)):
            with torch.no_grad():
                return op(*inputs, KERNEL, GROUPS, SCALE)

        def both(op, inputs=(features, masks)):
            output = op(*inputs, KERNEL, GROUPS, SCALE)
            return torch.autograd.grad(output, inputs, torch.ones_like(output))

        for name, run in (("forward", forward), ("forward and backward", both)):
            compare(
                f"{height}x{width}, {name}",
                lambda run=run: run(native),
                lambda run=run: run(meaning),
                demand="<= 0.33",
                seconds=2,
            )


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.carafe  # noqa: B018  defines the operator
    main()
