"""Rotated boxes, overlap and suppression: rows D2-556, D2-557, D2-558."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import okulo_ops._box_iou_rotated as box_iou_rotated_module
from okulo_ops import batched_nms_rotated, box_iou_rotated, nms_rotated


def corners(box):
    cx, cy, width, height, angle = (float(value) for value in box)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    upright = [(-width, -height), (width, -height), (width, height), (-width, height)]
    return [(cx + (cos * x + sin * y) / 2, cy + (cos * y - sin * x) / 2) for x, y in upright]


def clipped(polygon, a, b):
    """The part of a polygon to the right of the line from a to b (the inside, with y down)."""
    side = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for x, y in polygon]
    kept = []
    for k, (point, here) in enumerate(zip(polygon, side, strict=True)):
        before, there = polygon[k - 1], side[k - 1]
        if (here < 0) != (there < 0):
            t = there / (there - here)
            kept.append(
                (before[0] + t * (point[0] - before[0]), before[1] + t * (point[1] - before[1]))
            )
        if here >= 0:
            kept.append(point)
    return kept


def area(polygon):
    rows = range(len(polygon))
    return abs(
        sum(polygon[k - 1][0] * polygon[k][1] - polygon[k][0] * polygon[k - 1][1] for k in rows) / 2
    )


def reference(first, second):
    """IoU in float64 by cutting one box along the four sides of the other."""
    part, sides = corners(first), corners(second)
    for k in range(4):
        part = clipped(part, sides[k - 1], sides[k])
    shared, whole = area(part), area(corners(first)) + area(corners(second))
    return shared / (whole - shared) if shared else 0.0


def references(first, second):
    return torch.tensor([[reference(a, b) for b in second.tolist()] for a in first.tolist()])


@pytest.fixture(params=["kernel", "meaning"])
def iou(request, monkeypatch):
    """The operator with and without torchvision's kernel."""
    if request.param == "meaning":
        monkeypatch.setattr(box_iou_rotated_module, "has_torchvision_kernel", lambda: False)
    elif not box_iou_rotated_module.has_torchvision_kernel():
        pytest.skip("this torchvision has no kernel for rotated boxes")
    return box_iou_rotated


def some_boxes(count, seed, reach=60.0, angles=360.0):
    rng = np.random.default_rng(seed)
    rows = np.stack(
        (
            rng.uniform(0, reach, count),
            rng.uniform(0, reach, count),
            rng.uniform(2, 50, count),
            rng.uniform(2, 50, count),
            rng.uniform(-angles, angles, count),
        ),
        axis=1,
    )
    return torch.from_numpy(rows).float()


def test_overlap_is_that_of_polygon_clipping(iou):
    first, second = some_boxes(25, 1), some_boxes(20, 2)
    torch.testing.assert_close(iou(first, second), references(first, second), rtol=0, atol=1e-5)


def test_identical_boxes_overlap_fully_at_every_angle(iou):
    turned = torch.tensor([[50.0, 50.0, 30.0, 7.0, float(a)] for a in range(-180, 541, 15)])
    same_region = turned.clone()
    same_region[:, 4] += 180
    for other in (turned, same_region):
        ones = torch.ones(len(turned))
        torch.testing.assert_close(iou(turned, other).diagonal(), ones, rtol=0, atol=1e-4)


def test_half_of_a_box_overlaps_by_half(iou):
    whole = torch.tensor([[0.5, 0.5, 1.0, 1.0, 0.0]])
    half = torch.tensor([[0.25, 0.5, 0.5, 1.0, 0.0], [0.5, 0.25, 1.0, 0.5, 0.0]])
    torch.testing.assert_close(iou(whole, half), torch.full((1, 2), 0.5), rtol=0, atol=1e-6)


def test_angles_are_counter_clockwise(iou):
    """Turned by 30 degrees counter-clockwise, a long box reaches up, to lower y, on its right."""
    long_box = torch.tensor([[0.0, 0.0, 20.0, 2.0, 30.0]])
    end = torch.tensor([[8 * math.cos(math.pi / 6), -8 * math.sin(math.pi / 6), 1.0, 1.0, 0.0]])
    wrong_end = end * torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0])
    assert iou(long_box, end).item() > 0.01
    assert iou(long_box, wrong_end).item() == 0


def test_very_thin_boxes(iou):
    thin = torch.tensor([[50.0, 50.0, 1e-3, 100.0, 37.0], [50.0, 50.0, 1.0, 1000.0, 37.0]])
    ones = torch.ones(2)
    torch.testing.assert_close(iou(thin, thin).diagonal(), ones, rtol=0, atol=1e-3)


def test_large_coordinates_cost_no_precision(iou):
    near = torch.tensor([[0.0, 0.0, 64.0, 32.0, 20.0], [16.0, 8.0, 64.0, 32.0, 50.0]])
    far = near + torch.tensor([2.0**17, 2.0**17, 0.0, 0.0, 0.0])
    torch.testing.assert_close(iou(far, far), iou(near, near), rtol=0, atol=1e-6)


def test_a_box_without_area_overlaps_nothing(iou):
    boxes = torch.tensor([[5.0, 5.0, 0.0, 4.0, 10.0], [5.0, 5.0, 4.0, 4.0, 10.0]])
    assert iou(boxes, boxes)[0].tolist() == [0, 0]


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes_give_an_empty_matrix(iou, n, m):
    assert tuple(iou(torch.zeros(n, 5), torch.zeros(m, 5)).shape) == (n, m)


def test_more_than_a_million_pairs_are_computed_in_slices(iou):
    many, few = some_boxes(270_000, 3), some_boxes(4, 4)
    overlap = iou(many, few)
    assert tuple(overlap.shape) == (270_000, 4)
    torch.testing.assert_close(overlap[-5:], references(many[-5:], few), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_dtypes_are_computed_in_float32(iou, dtype):
    boxes = some_boxes(5, 5).to(dtype)
    assert iou(boxes, boxes).dtype == torch.float32
    assert torch.equal(iou(boxes, boxes), iou(boxes.float(), boxes.float()))


@given(st.integers(0, 2**31), st.floats(-720, 720, width=32))
def test_overlap_is_symmetric_in_range_and_turns_with_the_image(seed, turn):
    boxes = some_boxes(4, seed)
    overlap = box_iou_rotated(boxes, boxes)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    torch.testing.assert_close(overlap, overlap.T, rtol=0, atol=1e-4)
    x, y = boxes[:, 0].double(), boxes[:, 1].double()
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned = boxes.clone()
    turned[:, 0], turned[:, 1], turned[:, 4] = (
        cos * x + sin * y,
        cos * y - sin * x,
        boxes[:, 4] + turn,
    )
    torch.testing.assert_close(box_iou_rotated(turned, turned), overlap, rtol=0, atol=1e-3)


def test_overlap_compiles_as_one_graph():
    compiled = torch.compile(box_iou_rotated, fullgraph=True, backend="eager")
    boxes = some_boxes(6, 6)
    torch.testing.assert_close(
        compiled(boxes, boxes[:4]), references(boxes, boxes[:4]), rtol=0, atol=1e-5
    )


def greedy(overlap, scores, threshold):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(overlap[i][k] <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
def test_suppression_keeps_what_a_greedy_loop_keeps(threshold):
    boxes = some_boxes(60, 7)
    scores = torch.randperm(60, generator=torch.Generator().manual_seed(0)) / 60
    kept = nms_rotated(boxes, scores, threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == greedy(references(boxes, boxes).tolist(), scores.tolist(), threshold)


def test_an_iou_equal_to_the_threshold_is_kept():
    boxes = torch.tensor([[1.0, 0.5, 2.0, 1.0, 0.0], [0.5, 0.5, 1.0, 1.0, 0.0]])
    scores = torch.tensor([0.9, 0.8])
    threshold = box_iou_rotated(boxes, boxes)[0, 1].item()
    assert nms_rotated(boxes, scores, threshold).tolist() == [0, 1]
    assert nms_rotated(boxes, scores, threshold - 1e-6).tolist() == [0]


def test_the_same_region_at_another_angle_is_suppressed():
    boxes = torch.tensor([[0.0, 0.0, 6.0, 2.0, 90.0], [0.0, 0.0, 2.0, 6.0, 0.0]])
    assert nms_rotated(boxes, torch.tensor([0.1, 0.2]), 0.9).tolist() == [1]


def test_categories_do_not_touch_each_other_and_the_input_stays():
    boxes = some_boxes(60, 8, reach=30) - torch.tensor([20.0, 20.0, 0.0, 0.0, 0.0])
    before = boxes.clone()
    labels = torch.arange(60) % 3
    scores = torch.randperm(60, generator=torch.Generator().manual_seed(1)) / 60
    kept = batched_nms_rotated(boxes, scores, labels, 0.3)
    overlap = references(boxes, boxes) * (labels[:, None] == labels[None])
    assert kept.tolist() == greedy(overlap.tolist(), scores.tolist(), 0.3)
    assert torch.equal(boxes, before)


def test_no_boxes_keep_nothing():
    nothing = torch.zeros(0)
    assert nms_rotated(torch.zeros(0, 5), nothing, 0.5).tolist() == []
    kept = batched_nms_rotated(torch.zeros(0, 5), nothing, nothing.long(), 0.5)
    assert kept.tolist() == []
    assert kept.dtype == torch.int64


@pytest.mark.shared
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_suppression_agrees_with_the_recorded_result(golden, threshold):
    case = f"nms_rotated_{threshold}"
    kept = nms_rotated(golden(f"{case}/in/boxes"), golden(f"{case}/in/scores"), threshold)
    assert torch.equal(kept, golden(f"{case}/out/keep"))
    case = f"batched_nms_rotated_{threshold}"
    inputs = [golden(f"{case}/in/{name}") for name in ("boxes", "scores", "idxs")]
    assert torch.equal(batched_nms_rotated(*inputs, threshold), golden(f"{case}/out/keep"))


@pytest.mark.shared
def test_at_angle_zero_suppression_is_that_of_upright_boxes(golden):
    case = "nms_rotated_zero_angle"
    kept = nms_rotated(golden(f"{case}/in/boxes"), golden(f"{case}/in/scores"), 0.5)
    assert torch.equal(kept, golden(f"{case}/out/keep"))
    assert torch.equal(kept, golden("nms_axis_0.5/out/keep"))


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"boxes2 must have shape \(N, 5\), got \(2, 4\)"):
        box_iou_rotated(torch.zeros(1, 5), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"boxes must have shape \(N, 5\)"):
        nms_rotated(torch.zeros(2, 4), torch.zeros(2), 0.5)
    with pytest.raises(ValueError, match=r"scores must have shape \(2,\)"):
        batched_nms_rotated(torch.zeros(2, 5), torch.zeros(1), torch.zeros(2), 0.5)
