"""Overlap of rotated boxes: rows D2-558, MM-258."""

import math

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import box_iou_rotated, mmcv
from okulo_ops._box_iou_rotated import DEGREES
from okulo_ops._operator import OPERATORS
from okulo_ops._rotated_overlap import IOF, IOU


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
def iou(request):
    """The operator, and what it means in PyTorch."""
    if request.param == "kernel":
        return box_iou_rotated
    return lambda a, b: OPERATORS["box_iou_rotated"](a.float(), b.float(), DEGREES, IOU, False)


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
        torch.testing.assert_close(iou(turned, other).diagonal(), ones, rtol=0, atol=1e-6)


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


def random_boxes(count, seed):
    """Boxes in radians that overlap a lot."""
    boxes = some_boxes(count, seed, reach=30)
    boxes[:, 4] = torch.deg2rad(boxes[:, 4])
    return boxes


def test_contract(check_operator, device):
    first, second = random_boxes(9, 10), random_boxes(11, 11)
    check_operator("box_iou_rotated", (first, second, DEGREES, IOU, False), device=device)
    check_operator("box_iou_rotated", (first, second[:9], 1.0, IOF, True), device=device)


def test_contract_without_boxes(check_operator, device):
    args = torch.zeros(0, 5), torch.zeros(3, 5), 1.0, IOU, False
    check_operator("box_iou_rotated", args, device=device)


sizes = st.floats(0, 1e3, width=32)
box = st.tuples(
    st.floats(-1e4, 1e4, width=32),
    st.floats(-1e4, 1e4, width=32),
    sizes,
    sizes,
    st.floats(-720, 720, width=32),
)
nudges = st.tuples(*[st.sampled_from([0.0, 1e-30, 1e-7, 1e-4, 1e-2])] * 5)


def polygon(values):
    return shapely.Polygon(corners(values))


@given(box, nudges)
def test_near_equal_and_degenerate_boxes_are_as_in_shapely(first, nudge):
    second = tuple(np.float32(v) + np.float32(d) for v, d in zip(first, nudge, strict=True))
    ours = box_iou_rotated(torch.tensor([first]), torch.tensor([second])).item()
    assert 0 <= ours <= 1
    area1, area2 = first[2] * first[3], float(second[2]) * float(second[3])
    if min(area1, area2) < 1e-14:
        assert ours == 0
    elif min(*first[2:4], *map(float, second[2:4])) > 1e-2:  # shapely itself is exact to 1e-4 then
        shared = polygon(first).intersection(polygon(second)).area
        assert ours == pytest.approx(shared / (area1 + area2 - shared), abs=1e-4)


@given(box, box)
def test_any_two_boxes_are_as_in_shapely(first, second):
    second = (first[0] + second[0] / 50, first[1] + second[1] / 50, *second[2:])
    second = tuple(float(np.float32(v)) for v in second)
    ours, back = (
        box_iou_rotated(torch.tensor([a]), torch.tensor([b])).item()
        for a, b in ((first, second), (second, first))
    )
    assert ours == pytest.approx(back, abs=1e-6)
    if min(*first[2:4], *second[2:4]) > 1e-2:
        shared = polygon(first).intersection(polygon(second)).area
        whole = first[2] * first[3] + second[2] * second[3] - shared
        assert ours == pytest.approx(shared / whole, abs=1e-4)


@given(box)
def test_a_box_is_itself_at_any_size(values):
    boxes = torch.tensor([values])
    turned = boxes + torch.tensor([0, 0, 0, 0, 360.0])
    alive = boxes[0, 2].double() * boxes[0, 3].double() >= 1e-14
    assert box_iou_rotated(boxes, boxes).item() == pytest.approx(float(alive), abs=1e-6)
    if alive and boxes[0, 2:4].min() > 1:
        assert box_iou_rotated(boxes, turned).item() == pytest.approx(1, abs=1e-2)


@given(box, st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_box_within_another_has_the_ratio_of_the_areas(values, w, h):
    inner = (*values[:2], values[2] * w, values[3] * h, values[4])
    boxes = torch.tensor([values, inner], dtype=torch.float64)
    if inner[2] * inner[3] >= 1e-14:
        overlap = mmcv.box_iou_rotated(boxes[:1], boxes[1:])
        assert overlap.item() == pytest.approx(w * h, abs=1e-6)


@given(box, box, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_overlap_moves_with_the_boxes(first, second, x, y):
    boxes = torch.tensor([first, (*first[:2], *second[2:])], dtype=torch.float64)
    moved = boxes + torch.tensor([x, y, 0, 0, 0], dtype=torch.float64)
    if boxes[:, 2:4].min() > 1e-3:
        expected = mmcv.box_iou_rotated(boxes[:1], boxes[1:])
        torch.testing.assert_close(mmcv.box_iou_rotated(moved[:1], moved[1:]), expected)


def test_touching_boxes_do_not_overlap(iou):
    boxes = torch.tensor([[0.0, 0.0, 2.0, 4.0, 90.0], [3.0, 0.0, 2.0, 2.0, 0.0]])
    assert iou(boxes[:1], boxes[1:]).item() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_values_out_of_all_range_give_a_ratio(iou, value):
    boxes = some_boxes(5, 12)
    boxes.diagonal().fill_(value)
    overlap = iou(boxes, boxes)
    assert ((overlap >= 0) & (overlap <= 1)).all()


def test_torchvision_agrees_but_for_few():
    """Its hull is unstable: a few results in a million are off, by up to 0.2."""
    torchvision = pytest.importorskip("torchvision")
    if not hasattr(torch.ops.torchvision, "box_iou_rotated"):
        pytest.skip(f"torchvision {torchvision.__version__} has no kernel for rotated boxes")
    first, second = some_boxes(150, 13), some_boxes(150, 14)
    theirs = torch.ops.torchvision.box_iou_rotated(first, second)
    ours = box_iou_rotated(first, second)
    assert ((ours - theirs).abs() > 1e-5).sum() <= 2


def test_where_torchvision_is_wrong_ours_is_that_of_shapely():
    first = (9.722618103027344, 14.234956741333008, 42.32853698730469, 37.59809875488281, 348.9112)
    second = (6.5259552001953125, 18.18008804321289, 54.58238220214844, 16.377357482910156, 97.4024)
    a, b = polygon(first), polygon(second)
    ours = box_iou_rotated(torch.tensor([first]), torch.tensor([second])).item()
    assert ours == pytest.approx(a.intersection(b).area / a.union(b).area, abs=1e-6)


@pytest.mark.parametrize("clockwise", [True, False])
@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.shared
def test_recorded_numbers(golden_mmcv, mode, clockwise):
    golden = golden_mmcv("ops_detection")
    case = f"box_iou_rotated.{mode}.cw{int(clockwise)}"
    ours = mmcv.box_iou_rotated(
        golden(f"{case}.in0"), golden(f"{case}.in1"), mode, clockwise=clockwise
    )
    torch.testing.assert_close(ours, golden(f"{case}.out"), rtol=0, atol=1e-4)
    case = f"box_iou_rotated.{mode}.aligned"
    first, second = golden(f"{case}.in0"), golden(f"{case}.in1")
    ours = mmcv.box_iou_rotated(first[: len(second)], second, mode, aligned=True)
    torch.testing.assert_close(ours, golden(f"{case}.out"), rtol=0, atol=1e-4)


@pytest.mark.shared
def test_exact_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    boxes = golden("rotated.boxes1").double(), golden("rotated.boxes2").double()
    for mode in ("iou", "iof"):
        expected = golden(f"rotated.{mode}")
        torch.testing.assert_close(mmcv.box_iou_rotated(*boxes, mode), expected, rtol=0, atol=1e-7)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"boxes2 must have shape \(N, 5\), got \(2, 4\)"):
        box_iou_rotated(torch.zeros(1, 5), torch.zeros(2, 4))
    with pytest.raises(ValueError, match='"iou" or "iof", got \'giou\''):
        mmcv.box_iou_rotated(torch.zeros(1, 5), torch.zeros(1, 5), "giou")
    with pytest.raises(ValueError, match="equally many, got 1 and 2"):
        mmcv.box_iou_rotated(torch.zeros(1, 5), torch.zeros(2, 5), aligned=True)
