"""Boxes in space (section 19 of the inventory): bird's-eye and volume overlap, suppression."""

import math

import pytest
import torch

from okulo_ops import (
    boxes_iou3d,
    boxes_iou_bev,
    boxes_overlap_bev,
    nms3d,
    nms3d_normal,
    nms_bev,
    nms_normal_bev,
)


def upright(n, seed=0):
    """Boxes whose headings are multiples of a quarter turn."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(n, 7, generator=generator, dtype=torch.float64) * 4 + 0.5
    boxes[:, 6] = torch.randint(-2, 3, (n,), generator=generator).double() * (math.pi / 2)
    return boxes


def extents(box):
    dx, dy = (box[3], box[4]) if round(box[6] / (math.pi / 2)) % 2 == 0 else (box[4], box[3])
    sizes = (dx, dy, box[5])
    return [(c - s / 2, c + s / 2) for c, s in zip(box[:3], sizes, strict=True)]


def shared(a, b):
    """What two upright boxes share along x, y and z."""
    pairs = zip(extents(a), extents(b), strict=True)
    return [max(0.0, min(p[1], q[1]) - max(p[0], q[0])) for p, q in pairs]


def test_upright_boxes_overlap_as_intervals_do():
    a, b = upright(6), upright(7, seed=1)
    area, iou = boxes_overlap_bev(a, b), boxes_iou3d(a, b)
    for i, p in enumerate(a.tolist()):
        for j, q in enumerate(b.tolist()):
            x, y, z = shared(p, q)
            union = math.prod(p[3:6]) + math.prod(q[3:6]) - x * y * z
            assert area[i, j].item() == pytest.approx(x * y, abs=1e-9)
            assert iou[i, j].item() == pytest.approx(x * y * z / union, abs=1e-9)


def test_positive_headings_turn_from_x_towards_y():
    long = torch.tensor([[0.0, 0, 0, 4, 0.2, 1, math.pi / 4]])
    on_diagonal = torch.tensor([[1.0, 1, 0, 0.1, 0.1, 1, 0], [1.0, -1, 0, 0.1, 0.1, 1, 0]])
    inside, outside = boxes_overlap_bev(long, on_diagonal)[0].tolist()
    assert inside == pytest.approx(0.01, rel=1e-4)
    assert outside == 0


@pytest.mark.shared
def test_recorded_overlaps(golden_mmcv, device):
    golden = golden_mmcv("ops_from_definition")
    a, b = golden("iou3d.boxes1").to(device), golden("iou3d.boxes2").to(device)
    area, iou = boxes_overlap_bev(a, b).cpu().double(), boxes_iou3d(a, b).cpu().double()
    torch.testing.assert_close(area, golden("iou3d.overlap_bev"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(iou, golden("iou3d.iou"), rtol=1e-5, atol=1e-5)
    plane = [0, 1, 3, 4, 6]
    areas_a, areas_b = a[:, 3] * a[:, 4], b[:, 3] * b[:, 4]
    expected = area.to(device) / (areas_a[:, None] + areas_b - area.to(device))
    torch.testing.assert_close(boxes_iou_bev(a[:, plane], b[:, plane]).double(), expected.double())


@pytest.mark.shared
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_recorded_suppression(golden_mmcv, threshold, device):
    golden = golden_mmcv("ops_from_definition")
    boxes, scores = golden("nms3d.boxes").to(device), golden("nms3d.scores").to(device)
    rotated, normal = nms3d(boxes, scores, threshold), nms3d_normal(boxes, scores, threshold)
    assert torch.equal(rotated.cpu(), golden(f"nms3d.rotated.t{threshold}"))
    assert torch.equal(normal.cpu(), golden(f"nms3d.normal.t{threshold}"))


def test_deprecated_names_take_corners():
    boxes, scores = upright(30).float(), torch.linspace(0, 1, 30)
    center, size, heading = boxes[:, :2], boxes[:, 3:5], boxes[:, 6:]
    corners = torch.cat((center - size / 2, center + size / 2, heading), dim=1)
    with pytest.warns(DeprecationWarning, match="use nms3d"):
        kept = nms_bev(corners, scores, 0.2)
    with pytest.warns(DeprecationWarning, match="use nms3d"):
        best = nms_bev(corners, scores, 0.2, pre_max_size=10, post_max_size=2)
    with pytest.warns(DeprecationWarning, match="use nms3d_normal"):
        normal = nms_normal_bev(corners, scores, 0.2)
    assert torch.equal(kept, nms3d(boxes, scores, 0.2))
    assert torch.equal(best, 20 + nms3d(boxes[20:], scores[20:], 0.2)[:2])
    assert torch.equal(normal, nms3d_normal(boxes, scores, 0.2))


def test_no_boxes():
    none, some = torch.zeros(0, 7), upright(3).float()
    assert boxes_overlap_bev(none, some).shape == (0, 3)
    assert boxes_iou3d(some, none).shape == (3, 0)
    assert nms3d(none, torch.zeros(0), 0.5).shape == (0,)
    assert nms3d_normal(none, torch.zeros(0), 0.5).shape == (0,)


@pytest.mark.parametrize("function", [boxes_overlap_bev, boxes_iou3d])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_boxes_of_two_dtypes_are_compared_in_the_wider_one(function, dtype):
    a, b = upright(3).float(), upright(4, seed=1).to(dtype)
    wider = torch.promote_types(torch.float32, dtype)
    assert torch.equal(function(a, b), function(a.to(wider), b.to(wider)))


def test_flat_boxes_overlap_nothing():
    box = torch.tensor([[1.0, 2, 3, 2, 2, 0, 0.3]])
    assert boxes_iou3d(box, box).item() == 0


@pytest.mark.parametrize("function", [boxes_overlap_bev, boxes_iou3d])
def test_refused_input_says_what_was_expected(function):
    with pytest.raises(ValueError, match=r"boxes_b must have shape \(N, 7\), got \(2, 5\)"):
        function(torch.zeros(1, 7), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"scores must have shape \(2,\)"):
        nms3d(torch.zeros(2, 7), torch.zeros(3), 0.5)
