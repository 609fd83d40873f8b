"""Points in boxes (section 19 of the inventory)."""

import math

import pytest
import torch

from okulo_ops import points_in_boxes_all, points_in_boxes_cpu, points_in_boxes_part
from okulo_ops._points_in_boxes import box_frames


def sample(points=40, boxes=5):
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(2, points, 3, generator=generator)
    sizes = torch.rand(2, boxes, 3, generator=generator) * 3
    centers = torch.randn(2, boxes, 3, generator=generator)
    headings = torch.randn(2, boxes, 1, generator=generator) * 3
    return cloud, torch.cat((centers, sizes, headings), dim=2)


def reference(point, box):
    x, y, z, dx, dy, dz, heading = box
    distance = complex(point[0] - x, point[1] - y) * complex(math.cos(heading), -math.sin(heading))
    flat = abs(distance.real) < dx / 2 and abs(distance.imag) < dy / 2
    return flat and z <= point[2] <= z + dz


@pytest.mark.parametrize("name", ["points_in_boxes", "points_in_boxes_part"])
def test_contract(check_operator, device, name):
    points, boxes = sample(20)
    check_operator(name, (points, box_frames(boxes)), device=device)


@pytest.mark.parametrize("name", ["points_in_boxes", "points_in_boxes_part"])
def test_contract_when_empty(check_operator, device, name):
    for points, boxes in ((0, 3), (3, 0)):
        args = torch.zeros(2, points, 3), torch.zeros(2, boxes, 8)
        check_operator(name, args, device=device)


def test_every_pair_is_tested(device):
    points, boxes = sample()
    ours = points_in_boxes_all(points.to(device), boxes.to(device)).cpu()
    first = points_in_boxes_part(points.to(device), boxes.to(device)).cpu()
    assert ours.any()
    assert (first < 0).any()
    for b in range(2):
        for i, point in enumerate(points[b].tolist()):
            expected = [int(reference(point, box)) for box in boxes[b].tolist()]
            assert ours[b, i].tolist() == expected
            assert first[b, i].item() == (expected.index(1) if any(expected) else -1)


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_detection")
    ours = points_in_boxes_cpu(golden("points_in_boxes_cpu.in0"), golden("points_in_boxes_cpu.in1"))
    assert torch.equal(ours, golden("points_in_boxes_cpu.out"))


def test_top_and_bottom_are_inside_and_sides_are_not():
    box = torch.tensor([[[0.0, 0, 0, 2, 2, 2, 0]]])
    points = torch.tensor([[[0.0, 0, 0], [0, 0, 2], [1, 0, 1], [0, -1, 1], [math.nan, 0, 1]]])
    assert points_in_boxes_all(points, box).flatten().tolist() == [1, 1, 0, 0, 0]


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match=r"boxes must have shape \(B, T, 7\), got \(2, 3\)"):
        points_in_boxes_all(torch.zeros(1, 2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="same B, got 1 and 2 clouds"):
        points_in_boxes_part(torch.zeros(1, 2, 3), torch.zeros(2, 3, 7))
