"""Masks of 30 instances pasted into an image: ``hatch run bench:run ops/paste_masks.py``.

Both ways look at the pixels near a box only; most of the image is none of them.
"""

import torch
from compare import compare, heading
from nms import clustered
from torch import Tensor

import okulo_ops
from okulo_ops._operator import OPERATORS

SIZE = 800, 1216


def by_region(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """The meaning, on the part of the image that each box lies in."""
    dtype = torch.bool if threshold >= 0 else torch.uint8
    image = torch.zeros(len(masks), height, width, dtype=dtype)
    low, high = boxes[:, :2].floor() - 1, boxes[:, 2:].ceil() + 1
    limit = torch.tensor([width, height])
    corners = torch.cat((low.clamp(min=0), torch.minimum(high, limit)), dim=1).int().tolist()
    for i, (x0, y0, x1, y1) in enumerate(corners):
        size = max(y1 - y0, 0), max(x1 - x0, 0)
        box = boxes[i : i + 1] - torch.tensor([x0, y0, x0, y0])
        part = OPERATORS["paste_masks"](masks[i : i + 1], box, *size, threshold)
        image[i, y0 : y0 + size[0], x0 : x0 + size[1]] = part[0]
    return image


def main() -> None:
    heading("pasting masks")
    torch.manual_seed(0)
    masks, boxes = torch.rand(30, 28, 28), clustered(30)
    native = torch.ops.okulo.paste_masks
    for threshold in (0.5, -1.0):
        args = masks, boxes, *SIZE, threshold
        compare(
            f"30 masks into {SIZE[0]}x{SIZE[1]}, threshold {threshold}, by regions",
            lambda args=args: native(*args),
            lambda args=args: by_region(*args),
            demand="<= 0.33",
        )


if __name__ == "__main__":
    okulo_ops.paste_masks_in_image  # noqa: B018  defines the operator
    main()
