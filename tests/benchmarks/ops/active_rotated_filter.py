"""Turned filters of oriented networks: ``hatch run bench:run ops/active_rotated_filter.py``."""

import torch
from compare import compare, heading

import okulo_ops
from okulo_ops._operator import OPERATORS


def main() -> None:
    heading("active_rotated_filter of 8 angles, against its meaning")
    torch.manual_seed(0)
    for channels, orientations, size in ((256, 1, 3), (32, 8, 3), (64, 8, 1)):
        entries = orientations * size * size
        turned = [torch.randperm(entries) + 1 for _ in range(8)]
        table = torch.stack(turned, 1).reshape(orientations, size, size, 8)
        measure(torch.randn(32, channels, orientations, size, size), table)


def measure(filters: torch.Tensor, table: torch.Tensor) -> None:
    native = torch.ops.okulo.active_rotated_filter
    meaning = OPERATORS["active_rotated_filter"]
    label = "x".join(map(str, filters.shape))
    compare(
        f"{label}, forward",
        lambda: native(filters, table),
        lambda: meaning(filters, table),
        demand="<= 0.33",
        seconds=1,
    )
    leaf = filters.clone().requires_grad_()
    ours, other = native(leaf, table), meaning(leaf, table)
    grad = torch.randn_like(ours)
    compare(
        f"{label}, backward",
        lambda: torch.autograd.grad(ours, leaf, grad, retain_graph=True),
        lambda: torch.autograd.grad(other, leaf, grad, retain_graph=True),
        demand="<= 0.33",
        seconds=1,
    )


if __name__ == "__main__":
    okulo_ops.active_rotated_filter  # noqa: B018  defines the operator
    main()
