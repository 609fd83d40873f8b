"""Anchors of an image against its objects: ``hatch run bench:run ops/bbox_overlaps.py``."""

import torch
from compare import compare, heading
from nms import clustered

import okulo_ops
from okulo_ops._operator import OPERATORS


def main() -> None:
    heading("overlap of boxes")
    native, meaning = torch.ops.okulo.bbox_overlaps, OPERATORS["bbox_overlaps"]
    torch.manual_seed(0)
    for count, objects in ((200_000, 50), (2000, 2000)):
        anchors, truth = clustered(count), clustered(objects)
        for dtype in (torch.float32, torch.bfloat16):
            args = anchors.to(dtype), truth.to(dtype), False, False, 0
            compare(
                f"IoU {count} x {objects}, {dtype}, against its meaning",
                lambda args=args: native(*args),
                lambda args=args: meaning(*args),
                demand="<= 0.33",
            )


if __name__ == "__main__":
    okulo_ops.bbox_overlaps  # noqa: B018  defines the operator
    main()
