"""Focal loss of the anchors of one image: ``hatch run bench:run ops/focal_loss.py``."""

import torch
from compare import compare, heading

from okulo_ops._operator import OPERATORS

ROWS, CLASSES = 200_000, 80


def main() -> None:
    heading("focal loss")
    torch.manual_seed(0)
    logits = torch.randn(ROWS, CLASSES)
    target = torch.randint(0, CLASSES + 1, (ROWS,))
    args = logits, target, None, 2.0, 0.25
    native, meaning = torch.ops.okulo.sigmoid_focal_loss, OPERATORS["sigmoid_focal_loss"]
    name = f"sigmoid {ROWS}x{CLASSES} forward, against its meaning"
    compare(name, lambda: native(*args), lambda: meaning(*args), demand="<= 0.33")


if __name__ == "__main__":
    import okulo_ops

    okulo_ops.sigmoid_focal_loss  # noqa: B018  defines the operator
    main()
