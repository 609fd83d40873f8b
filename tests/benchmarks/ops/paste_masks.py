"""Masks of 30 instances pasted into an image: ``hatch run bench:run ops/paste_masks.py``."""

import torch
from compare import compare, heading
from nms import clustered

import okulo_ops
from okulo_ops._operator import OPERATORS

SIZE = 800, 1216


def main() -> None:
    heading("pasting masks")
    torch.manual_seed(0)
    masks, boxes = torch.rand(30, 28, 28), clustered(30)
    native, meaning = torch.ops.okulo.paste_masks, OPERATORS["paste_masks"]
    for threshold in (0.5, -1.0):
        args = masks, boxes, *SIZE, threshold
        compare(
            f"30 masks into {SIZE[0]}x{SIZE[1]}, threshold {threshold}, against meaning",
            lambda args=args: native(*args),
            lambda args=args: meaning(*args),
            demand="<= 0.33",
        )


if __name__ == "__main__":
    okulo_ops.paste_masks_in_image  # noqa: B018  defines the operator
    main()
