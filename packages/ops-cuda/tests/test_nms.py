"""Suppression of axis-aligned boxes: rows D2-554, D2-555."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import batched_nms, nms


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared) if shared else 0.0


def reference(boxes, scores, labels, threshold):
    """Greedy suppression, box by box in Python's float64."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[k] or iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


# Quarters keep every sum exact in float32, so that no IoU depends on rounding.
coordinate = st.integers(-40, 40).map(lambda value: value / 4)
box = st.tuples(coordinate, coordinate, st.integers(1, 40), st.integers(1, 40)).map(
    lambda b: (b[0], b[1], b[0] + b[2] / 4, b[1] + b[3] / 4)
)
threshold = st.sampled_from([0.0, 0.33, 0.61, 1.0])


@st.composite
def scored_boxes(draw):
    boxes = draw(st.lists(box, max_size=12))
    labels = draw(st.lists(st.integers(0, 3), min_size=len(boxes), max_size=len(boxes)))
    scores = draw(st.permutations([(k + 1) / 16 for k in range(len(boxes))]))
    return boxes, scores, labels


@given(scored_boxes(), threshold)
def test_nms_keeps_what_a_greedy_loop_keeps(case, threshold):
    boxes, scores, _ = case
    kept = nms(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == reference(boxes, scores, [0] * len(boxes), threshold)


@given(scored_boxes(), threshold)
def test_batched_nms_keeps_what_a_greedy_loop_keeps_in_each_category(case, threshold):
    boxes, scores, labels = case
    kept = batched_nms(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
        threshold,
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == reference(boxes, scores, labels, threshold)


def test_a_box_at_negative_coordinates_stays_in_its_category():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [-11.0, -11.0, -1.0, -1.0]])
    kept = batched_nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), 0.5)
    assert kept.tolist() == [0, 1]


def test_many_boxes_give_the_same_as_few_would():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(1500, 2, generator=generator) * 100
    boxes = torch.cat((low, low + 5 + torch.rand(1500, 2, generator=generator) * 20), dim=1)
    scores = torch.randperm(1500, generator=generator) / 1500
    labels = torch.randint(0, 7, (1500,), generator=generator)
    kept = batched_nms(boxes, scores, labels, 0.5)
    expected = [
        torch.nonzero(labels == label)[:, 0][
            nms(boxes[labels == label], scores[labels == label], 0.5)
        ]
        for label in range(7)
    ]
    assert sorted(kept.tolist()) == sorted(torch.cat(expected).tolist())
    assert (scores[kept].diff() < 0).all()


def test_an_iou_equal_to_the_threshold_is_kept():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.49).tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_dtypes_are_taken(dtype):
    boxes = torch.tensor([[0, 0, 200, 200], [0, 0, 200, 190], [300, 300, 500, 500]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=dtype)
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert batched_nms(boxes, scores, torch.zeros(3, dtype=torch.int64), 0.5).tolist() == [1, 2]


def test_areas_beyond_float16_do_not_overflow():
    boxes = torch.tensor([[0, 0, 1000, 1000], [0, 0, 1000, 400]], dtype=torch.float16)
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


@pytest.mark.shared
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_batched_nms_agrees_with_the_recorded_result(golden, threshold):
    case = f"batched_nms_{threshold}"
    inputs = [golden(f"{case}/in/{name}") for name in ("boxes", "scores", "idxs")]
    assert torch.equal(batched_nms(*inputs, threshold), golden(f"{case}/out/keep"))


@pytest.mark.shared
def test_nms_agrees_with_the_recorded_result(golden):
    kept = nms(golden("nms_axis_0.5/in/boxes"), golden("nms_axis_0.5/in/scores"), 0.5)
    assert torch.equal(kept, golden("nms_axis_0.5/out/keep"))


@pytest.mark.parametrize(
    ("boxes", "scores", "error", "message"),
    [
        (torch.zeros(2, 5), torch.zeros(2), ValueError, r"shape \(N, 4\), got \(2, 5\)"),
        (torch.zeros(2, 4), torch.zeros(3), ValueError, r"shape \(2,\), one per box, got \(3,\)"),
        (torch.zeros(2, 4).long(), torch.zeros(2), TypeError, "floating point, got torch.int64"),
        ([[0, 0, 1, 1]], torch.zeros(1), TypeError, "must be a tensor, got list"),
    ],
    ids=["columns", "scores", "integer", "list"],
)
def test_wrong_input_is_refused(boxes, scores, error, message):
    with pytest.raises(error, match=message):
        nms(boxes, scores, 0.5)
    with pytest.raises(error, match=message):
        batched_nms(boxes, scores, torch.zeros(len(scores), dtype=torch.int64), 0.5)


def test_categories_must_be_as_many_as_boxes():
    with pytest.raises(ValueError, match=r"idxs must have shape \(2,\)"):
        batched_nms(torch.zeros(2, 4), torch.zeros(2), torch.zeros(1), 0.5)
