"""Overlap and suppression of rotated boxes: ``hatch run bench:run ops/rotated.py``."""

import torch
from compare import compare, heading
from torch import Tensor

from okulo_ops import box_iou_rotated, nms_rotated
from okulo_ops._box_iou_rotated import DEGREES
from okulo_ops._operator import OPERATORS
from okulo_ops._rotated_overlap import IOU

COUNT = 2000


def some_boxes(reach: float) -> Tensor:
    """COUNT boxes with sides of 10 to 60 pixels whose centres lie in a square of side ``reach``."""
    x, y, w, h, angle = torch.rand(5, COUNT)
    return torch.stack((reach * x, reach * y, 10 + 50 * w, 10 + 50 * h, 720 * angle - 360), 1)


def overlaps() -> None:
    meaning = OPERATORS["box_iou_rotated"]
    import torchvision  # noqa: F401  defines torch.ops.torchvision

    for name, reach in (("all overlap", 20), ("a tenth overlap", 200), ("spread", 1000)):
        a, b = some_boxes(reach), some_boxes(reach)
        compare(
            f"box_iou_rotated {COUNT}x{COUNT}, {name}, meaning",
            lambda a=a, b=b: box_iou_rotated(a, b),
            lambda a=a, b=b: meaning(a, b, DEGREES, IOU, False),
            demand="<= 0.05",
            seconds=0,
        )
        few, others = a[:400], b[:400]
        compare(
            f"box_iou_rotated 400x400, {name}, torchvision",
            lambda a=few, b=others: box_iou_rotated(a, b),
            lambda a=few, b=others: torch.ops.torchvision.box_iou_rotated(a, b),
            demand="<= 1.00",
            seconds=0,
        )


def suppression() -> None:
    meaning = OPERATORS["nms_rotated"]
    for name, reach in (("crowded", 200), ("spread", 1000)):
        boxes, scores = some_boxes(reach), torch.rand(COUNT)
        compare(
            f"nms_rotated {COUNT}, {name}, meaning",
            lambda b=boxes, s=scores: nms_rotated(b, s, 0.5),
            lambda b=boxes, s=scores: meaning(b[s.argsort()], None, 0.5, DEGREES),
            demand="<= 0.05",
            seconds=0,
        )


def main() -> None:
    heading("rotated boxes")
    torch.manual_seed(0)
    overlaps()
    suppression()


if __name__ == "__main__":
    main()
