"""Focal losses of the anchors of one image: ``hatch run bench:run ops/focal_loss.py``.

The gradient of the softmax writes 64 MB, a third of its time, and normalises each row again; the
meaning has kept 64 MB of logarithms from the way forward.
"""

import torch
from compare import compare, heading

import okulo_ops
from okulo_ops._operator import OPERATORS

ROWS, CLASSES = 200_000, 80


def main() -> None:
    heading("focal losses, against their meaning")
    torch.manual_seed(0)
    logits = torch.randn(ROWS, CLASSES)
    target = torch.randint(0, CLASSES, (ROWS,))
    for loss in ("sigmoid", "softmax"):
        for gamma in (2.0, 1.0, 0.5):
            measure(f"{loss}_focal_loss", logits, target, gamma)


def measure(op: str, logits: torch.Tensor, target: torch.Tensor, gamma: float) -> None:
    settings = None, gamma, 0.25
    native, meaning = getattr(torch.ops.okulo, op), OPERATORS[op]
    name = f"{op} {ROWS}x{CLASSES} gamma {gamma}"
    compare(
        f"{name} forward",
        lambda: native(logits, target, *settings),
        lambda: meaning(logits, target, *settings),
        demand="<= 0.33",
        seconds=2.0,
    )
    leaf = logits.clone().requires_grad_()
    ours, other = (function(leaf, target, *settings) for function in (native, meaning))
    grad = torch.rand_like(ours)
    compare(
        f"{name} backward",
        lambda: torch.autograd.grad(ours, leaf, grad, retain_graph=True),
        lambda: torch.autograd.grad(other, leaf, grad, retain_graph=True),
        demand="<= 0.33",
        seconds=2.0,
    )


if __name__ == "__main__":
    okulo_ops.sigmoid_focal_loss  # noqa: B018  defines the operators
    main()
