"""Masks of point-wise spatial attention: ``hatch run bench:run ops/psa_mask.py``.

Both ways are bound by memory. The gradient of the smaller masks is 25 MB, and writing zeros there
takes a quarter of the time of the meaning; that of the larger ones is 180 MB of fresh memory in
every run.
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
    heading("psa_mask of two images, against its meaning")
    torch.manual_seed(0)
    ways = torch.ops.okulo.psa_mask, OPERATORS["psa_mask"]
    for mask, size in ((59, 30), (97, 49)):
        masks = torch.randn(2, mask**2, size, size, requires_grad=True)
        for psa_type in ("collect", "distribute"):
            args = mask, mask, psa_type == "collect"
            label = f"{mask}x{mask} masks on {size}x{size}, {psa_type}"
            forward = [forward_of(op, masks, *args) for op in ways]
            compare(f"{label}, forward", *forward, demand="<= 0.33", seconds=1)
            backward = [backward_of(op, masks, *args) for op in ways]
            compare(f"{label}, backward", *backward, demand="<= 0.33", seconds=1)


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.psa_mask  # noqa: B018  defines the operator
    main()
