"""Overlap and distance of boxes: rows D2-513 to D2-517."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import (
    Boxes,
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)

corner = st.integers(-40, 40).map(lambda value: value / 4)
side = st.integers(0, 60).map(lambda value: value / 4)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
boxes = st.lists(box, max_size=6)


def intersection(a, b):
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def area(a):
    return (a[2] - a[0]) * (a[3] - a[1])


def iou(a, b):
    shared = intersection(a, b)
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def ioa(a, b):
    return intersection(a, b) / area(b) if intersection(a, b) else 0.0


def matrix(function, first, second):
    rows = [[function(a, b) for b in second] for a in first]
    return torch.tensor(rows, dtype=torch.float32).reshape(len(first), len(second))


@pytest.mark.parametrize(
    ("ours", "reference"),
    [(pairwise_intersection, intersection), (pairwise_iou, iou), (pairwise_ioa, ioa)],
    ids=["intersection", "iou", "ioa"],
)
@given(first=boxes, second=boxes)
def test_every_pair_is_as_a_loop_says(ours, reference, first, second):
    result = ours(Boxes(first), Boxes(second))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, matrix(reference, first, second))


@given(boxes, boxes)
def test_overlap_is_symmetric_and_in_range(first, second):
    overlap = pairwise_iou(Boxes(first), Boxes(second))
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert torch.equal(overlap, pairwise_iou(Boxes(second), Boxes(first)).T)


@given(boxes)
def test_matched_overlap_is_the_diagonal(rows):
    first, second = Boxes(rows), Boxes(rows[::-1])
    expected = pairwise_iou(first, second).diagonal()
    assert torch.equal(matched_pairwise_iou(first, second), expected)


def test_boxes_without_area_overlap_by_exactly_0():
    """D2-514, and D2-516, which was NaN upstream."""
    point = Boxes([[3.0, 3.0, 3.0, 3.0]])
    assert pairwise_iou(point, point).item() == 0
    assert pairwise_ioa(point, point).item() == 0
    assert matched_pairwise_iou(point, point).item() == 0


def test_ioa_divides_by_the_second_area():
    """D2-515."""
    large, small = Boxes([[0.0, 0, 10, 10]]), Boxes([[0.0, 0, 5, 5]])
    assert pairwise_ioa(large, small).item() == 1
    assert pairwise_ioa(small, large).item() == 0.25


def test_matched_boxes_must_be_equally_many():
    """D2-516."""
    with pytest.raises(ValueError, match="equally many boxes, got 1 and 2; pairwise_iou"):
        matched_pairwise_iou(Boxes(torch.zeros(1, 4)), Boxes(torch.zeros(2, 4)))


def test_distances_are_positive_exactly_inside():
    """D2-517."""
    boxes = Boxes([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 6.0, 7.0]])
    points = torch.tensor([[1.0, 2.0], [5.5, 6.0], [10.0, 3.0]])
    distance = pairwise_point_box_distance(points, boxes)
    assert tuple(distance.shape) == (3, 2, 4)
    assert distance[0, 0].tolist() == [1, 2, 9, 18]
    inside = (distance > 0).all(dim=2)
    assert inside.tolist() == [[True, False], [True, True], [False, False]]
    with pytest.raises(ValueError, match=r"points must have shape \(N, 2\), got \(3,\)"):
        pairwise_point_box_distance(torch.zeros(3), boxes)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes_keep_their_shape(n, m):
    first, second = Boxes(torch.zeros(n, 4)), Boxes(torch.zeros(m, 4))
    for function in (pairwise_intersection, pairwise_iou, pairwise_ioa):
        assert tuple(function(first, second).shape) == (n, m)
    distance = pairwise_point_box_distance(torch.zeros(n, 2), second)
    assert tuple(distance.shape) == (n, m, 4)
    assert tuple(matched_pairwise_iou(first, first).shape) == (n,)


def test_they_compile_as_one_graph():
    def both(first, second):
        return pairwise_iou(Boxes(first), Boxes(second)), pairwise_ioa(Boxes(first), Boxes(second))

    first, second = torch.rand(5, 4) * 20, torch.rand(3, 4) * 20
    compiled = torch.compile(both, fullgraph=True, backend="eager")
    for ours, expected in zip(compiled(first, second), both(first, second), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.shared
def test_recorded_overlaps(golden):
    first, second = Boxes(golden("boxes_pairwise/in/a")), Boxes(golden("boxes_pairwise/in/b"))
    golden.check(pairwise_intersection(first, second), "boxes_pairwise/out/intersection")
    golden.check(pairwise_iou(first, second), "boxes_pairwise/out/iou")
    golden.check(pairwise_ioa(first, second), "boxes_pairwise/out/ioa")
    recorded = golden("boxes_pairwise/out/matched_iou_first_n").nan_to_num(nan=0.0)
    ours = matched_pairwise_iou(first[: len(second)], second)
    torch.testing.assert_close(ours, recorded, rtol=1e-5, atol=1e-5)


@pytest.mark.shared
def test_recorded_distances(golden):
    boxes = Boxes(golden("point_box_distance/in/boxes"))
    distance = pairwise_point_box_distance(golden("point_box_distance/in/points"), boxes)
    golden.check(distance, "point_box_distance/out/dist")
