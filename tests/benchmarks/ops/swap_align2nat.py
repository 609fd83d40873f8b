"""TensorMask's change of form: ``hatch run bench:run ops/swap_align2nat.py``."""

import torch
from compare import compare, heading

import okulo_ops
from okulo_ops._operator import OPERATORS


def main() -> None:
    heading("swap_align2nat of windows of 15 x 15, against its meaning")
    torch.manual_seed(0)
    for factor, height, width in ((1, 25, 38), (2, 50, 76)):
        measure(torch.randn(1, 225, height, width), factor)


def measure(masks: torch.Tensor, factor: int) -> None:
    native, meaning = torch.ops.okulo.swap_align2nat, OPERATORS["swap_align2nat"]
    label = f"{'x'.join(map(str, masks.shape))} by {factor}"
    compare(
        f"{label}, forward",
        lambda: native(masks, factor, -6.0),
        lambda: meaning(masks, factor, -6.0),
        demand="<= 0.33",
        seconds=1,
    )
    leaf = masks.clone().requires_grad_()
    ours, other = native(leaf, factor, -6.0), meaning(leaf, factor, -6.0)
    grad = torch.randn_like(ours)
    compare(
        f"{label}, backward",
        lambda: torch.autograd.grad(ours, leaf, grad, retain_graph=True),
        lambda: torch.autograd.grad(other, leaf, grad, retain_graph=True),
        demand="<= 0.33",
        seconds=1,
    )


if __name__ == "__main__":
    okulo_ops.swap_align2nat  # noqa: B018  defines the operator
    main()
