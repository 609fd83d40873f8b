"""Suppression of rotated boxes: rows D2-556, D2-557, MM-259."""

import math

import numpy as np
import pytest
import torch

from okulo_ops import batched_nms_rotated, box_iou_rotated, mmcv, nms_rotated
from okulo_ops._box_iou_rotated import DEGREES


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
    with pytest.raises(ValueError, match=r"boxes must have shape \(N, 5\)"):
        nms_rotated(torch.zeros(2, 4), torch.zeros(2), 0.5)
    with pytest.raises(ValueError, match=r"scores must have shape \(2,\)"):
        batched_nms_rotated(torch.zeros(2, 5), torch.zeros(1), torch.zeros(2), 0.5)


def test_contract(check_operator, device):
    boxes = some_boxes(70, 20, reach=40)
    check_operator("nms_rotated", (boxes, None, 0.3, DEGREES), device=device)
    check_operator("nms_rotated", (boxes, torch.arange(70) % 3, 0.1, 1.0), device=device)
    check_operator("nms_rotated", (torch.zeros(0, 5), None, 0.3, 1.0), device=device)


def test_equal_scores_stay_in_order():
    boxes = some_boxes(40, 21, reach=400)
    scores = torch.zeros(40)
    kept = nms_rotated(boxes, scores, 0.1)
    assert kept.tolist() == greedy(references(boxes, boxes).tolist(), scores.tolist(), 0.1)
    assert kept.tolist() == sorted(kept.tolist())


def test_large_categories_cost_no_precision():
    """Boxes that are shifted apart by category 10**6 would lose their overlap in float32."""
    boxes = torch.tensor([[1.0, 1.0, 0.02, 0.02, 10.0], [1.001, 1.0, 0.02, 0.02, 10.0]])
    idxs = torch.tensor([10**6, 10**6])
    assert batched_nms_rotated(boxes, torch.tensor([0.9, 0.8]), idxs, 0.95).tolist() == [0, 1]
    assert batched_nms_rotated(boxes, torch.tensor([0.9, 0.8]), idxs, 0.85).tolist() == [0]


ROWS = [[6, 3, 8, 7, 0.5], [3, 6, 9, 11, 0.6], [3, 7, 10, 12, 0.3], [1, 4, 13, 7, 0.6]]


def test_labels_are_honoured():
    """mmcv takes labels and compares all boxes nevertheless: box 2 then falls to box 1."""
    dets, scores = torch.tensor(ROWS), torch.tensor([0.7, 0.8, 0.5, 0.9])
    kept, keep = mmcv.nms_rotated(dets, scores, 0.5)
    assert keep.tolist() == [3, 1, 0]
    torch.testing.assert_close(kept, torch.cat((dets, scores[:, None]), dim=1)[keep])
    assert mmcv.nms_rotated(dets, scores, 0.5, torch.tensor([1, 0, 1, 0]))[1].tolist() == [
        3,
        1,
        0,
        2,
    ]


def test_without_boxes_mmcv_returns_them_and_none():
    dets = torch.zeros(0, 5)
    kept, keep = mmcv.nms_rotated(dets, torch.zeros(0), 0.5)
    assert kept.shape == (0, 5)
    assert keep is None


@pytest.mark.shared
@pytest.mark.parametrize("clockwise", [True, False])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_recorded_boxes(golden_mmcv, threshold, clockwise):
    golden = golden_mmcv("ops_detection")
    case = f"nms_rotated.t{threshold}.cw{int(clockwise)}"
    kept, keep = mmcv.nms_rotated(
        golden(f"{case}.in0"), golden(f"{case}.in1"), threshold, clockwise=clockwise
    )
    assert torch.equal(keep, golden(f"{case}.out1"))
    torch.testing.assert_close(kept, golden(f"{case}.out0"))
