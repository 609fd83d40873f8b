"""Boxes in space: ``hatch run bench:run ops/boxes3d.py``."""

import torch
from compare import compare, heading

import okulo_ops
from okulo_ops._operator import OPERATORS
from okulo_ops._points_in_boxes import box_frames

CLOUD, GROUND_TRUTH, PREDICTIONS = 16_384, 64, 1_000


def main() -> None:
    heading("boxes in space, against their meaning")
    torch.manual_seed(0)
    points = torch.rand(2, CLOUD, 3) * torch.tensor([70.0, 80.0, 4.0])
    frames = box_frames(boxes(2 * GROUND_TRUTH)).view(2, GROUND_TRUTH, 8)
    measure("points_in_boxes", f"2 x {CLOUD} points, {GROUND_TRUTH} boxes", points, frames)
    measure("points_in_boxes_part", f"2 x {CLOUD} points, {GROUND_TRUTH} boxes", points, frames)
    plane = [0, 1, 3, 4, 6]
    bev = boxes(PREDICTIONS)[:, plane], boxes(PREDICTIONS)[:, plane]
    # Both boxes_overlap_bev and boxes_iou3d spend their time here: shares of the first box.
    measure("box_iou_rotated", f"{PREDICTIONS} x {PREDICTIONS}", *bev, 1.0, 1, False)


def boxes(count: int) -> torch.Tensor:
    place = torch.rand(count, 3) * torch.tensor([70.0, 80.0, 1.0])
    size = torch.tensor([3.9, 1.6, 1.5]) * (0.8 + 0.4 * torch.rand(count, 3))
    return torch.cat((place, size, 6.3 * torch.rand(count, 1)), dim=1)


def measure(op: str, shapes: str, *args: object) -> None:
    native, meaning = getattr(torch.ops.okulo, op), OPERATORS[op]
    name = f"{op} {shapes}"
    compare(name, lambda: native(*args), lambda: meaning(*args), demand="<= 0.33", seconds=2.0)


if __name__ == "__main__":
    okulo_ops.boxes_iou3d, okulo_ops.points_in_boxes_all  # noqa: B018  define the operators
    main()
