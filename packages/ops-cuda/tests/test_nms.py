"""Suppression of axis-aligned boxes: rows D2-554, D2-555, and mmcv's form MM-243, MM-244."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import batched_nms, mmcv, nms
from okulo_ops._operator import OPERATORS


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


def random_boxes(count, extent=100.0):
    """Boxes, distinct scores and labels, overlapping often."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(count, 2, generator=generator) * extent
    boxes = torch.cat((low, low + 5 + torch.rand(count, 2, generator=generator) * 20), dim=1)
    scores = torch.randperm(count, generator=generator) / count
    return boxes, scores, torch.randint(0, 7, (count,), generator=generator)


def test_contract(check_operator, device):
    boxes, scores, labels = random_boxes(40, extent=30)
    ranked = boxes[scores.argsort(descending=True)].round()  # exact in float16, too
    check_operator("nms", (ranked, None, 0.4, 0), device=device)
    check_operator("nms", (ranked, labels, 0.2, 1), device=device)
    check_operator("nms", (ranked[:0], labels[:0], 0.2, 0), device=device)


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_more_boxes_than_one_block_give_what_a_greedy_loop_gives(device, threshold):
    boxes, scores, labels = random_boxes(1200)
    boxes = (boxes * 4).round() / 4
    expected = reference(boxes.tolist(), scores.tolist(), labels.tolist(), threshold)
    boxes, scores, labels = boxes.to(device), scores.to(device), labels.to(device)
    assert batched_nms(boxes, scores, labels, threshold).tolist() == expected
    order = scores.argsort(descending=True)
    by_meaning = OPERATORS["nms"](boxes[order], labels[order], threshold, 0)
    assert order[by_meaning].tolist() == expected


def test_many_boxes_give_the_same_as_few_would():
    boxes, scores, labels = random_boxes(1500)
    kept = batched_nms(boxes, scores, labels, 0.5)
    expected = [
        torch.nonzero(labels == label)[:, 0][
            nms(boxes[labels == label], scores[labels == label], 0.5)
        ]
        for label in range(7)
    ]
    assert sorted(kept.tolist()) == sorted(torch.cat(expected).tolist())
    assert (scores[kept].diff() < 0).all()


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_torchvision_keeps_the_same(threshold):
    ops = pytest.importorskip("torchvision").ops
    boxes, scores, _ = random_boxes(3000)
    assert torch.equal(nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


def test_equal_scores_keep_the_order_of_their_boxes(device):
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(200, 1) + 10 * torch.arange(200)[:, None] // 2
    kept = nms(boxes.to(device), torch.ones(200, device=device), 0.5)
    assert kept.tolist() == list(range(200))
    same = torch.zeros(200, 4, device=device) + torch.tensor([0.0, 0, 4, 4], device=device)
    assert nms(same, torch.ones(200, device=device), 0.5).tolist() == [0]


def test_categories_far_apart_lose_no_digits():
    """Shifting boxes by category would leave 2**24 + 0.25 no quarter."""
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.5, 0, 1.5, 1], [0, 0, 1, 1]])
    kept = batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([2**40] * 2 + [0]), 0.4)
    assert kept.tolist() == [0, 1, 2]


def test_what_is_not_a_number_neither_drops_nor_is_dropped(device):
    nan, inf = float("nan"), float("inf")
    boxes = torch.tensor(
        [[0, 0, 4, 4], [nan, 0, 4, 4], [0, 0, 4, nan], [0, 0, 4, 4], [-inf, 0, inf, 4.0]],
        device=device,
    )
    scores = torch.tensor([0.9, 0.8, 0.7, nan, 0.6], device=device)
    assert batched_nms(boxes, scores, torch.zeros(5).to(boxes), 0.5).tolist() == [3, 1, 2, 4]


def test_it_compiles_as_one_graph():
    boxes, scores, labels = random_boxes(30)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(batched_nms, fullgraph=True, backend="aot_eager")
        kept = compiled(boxes, scores, labels, 0.3)
    assert torch.equal(kept, batched_nms(boxes, scores, labels, 0.3))


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


SEED = torch.tensor([[6.0, 3, 8, 7], [3, 6, 9, 11], [3, 7, 10, 12], [1, 4, 13, 7]])
SEED_SCORES = torch.tensor([0.6, 0.9, 0.7, 0.2])


@pytest.mark.shared
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7])
def test_mmcv_nms_agrees_with_the_recorded_result(golden_mmcv, threshold, offset):
    golden, case = golden_mmcv("ops_detection"), f"nms.t{threshold}.off{offset}"
    dets, inds = mmcv.nms(golden(f"{case}.in0"), golden(f"{case}.in1"), threshold, offset)
    assert torch.equal(dets, golden(f"{case}.out0"))
    assert torch.equal(inds, golden(f"{case}.out1"))


@pytest.mark.shared
def test_mmcv_nms_filters_by_score_first_and_cuts_last(golden_mmcv):
    golden, case = golden_mmcv("ops_detection"), "nms.score_thr_max"
    boxes, scores = golden(f"{case}.in0"), golden(f"{case}.in1")
    dets, inds = mmcv.nms(boxes, scores, 0.5, score_threshold=0.3, max_num=10)
    assert torch.equal(dets, golden(f"{case}.out0"))
    assert torch.equal(inds, golden(f"{case}.out1"))


RECORDED = [
    {"type": "nms", "iou_threshold": 0.5},
    {"type": "nms", "iou_threshold": 0.5, "max_num": 7},
    {"type": "nms", "iou_threshold": 0.5, "split_thr": 10},
]


@pytest.mark.shared
@pytest.mark.parametrize("settings", [*RECORDED, None], ids=str)
def test_mmcv_batched_nms_agrees_with_the_recorded_result(golden_mmcv, settings):
    golden = golden_mmcv("ops_detection")
    case = "batched_nms." + ("agnostic" if settings is None else json.dumps(settings))
    inputs = [golden(f"{case}.in{k}") for k in range(3)]
    dets, keep = mmcv.batched_nms(*inputs, settings or RECORDED[0], settings is None)
    torch.testing.assert_close(dets, golden(f"{case}.out0"))
    assert torch.equal(keep, golden(f"{case}.out1"))


def test_mmcv_nms_takes_and_returns_arrays():
    dets, inds = mmcv.nms(SEED.numpy(), SEED_SCORES.numpy(), 0.3)
    assert isinstance(dets, np.ndarray)
    assert inds.dtype == np.int64
    assert inds.tolist() == [1, 0, 3]
    np.testing.assert_array_equal(dets[:, 4], SEED_SCORES.numpy()[inds])


def test_class_agnostic_is_honoured_for_many_boxes_too():
    """Above split_thr boxes the upstream code suppressed by class whatever was asked."""
    boxes, scores, labels = random_boxes(300)
    settings = {"type": "nms", "iou_threshold": 0.5, "split_thr": 10}
    for agnostic in ({"class_agnostic": True}, {}):
        _, keep = mmcv.batched_nms(boxes, scores, labels, settings | agnostic, not agnostic)
        assert torch.equal(keep, nms(boxes, scores, 0.5))
    _, keep = mmcv.batched_nms(boxes, scores, labels, settings | {"class_agnostic": False}, True)
    assert torch.equal(keep, batched_nms(boxes, scores, labels, 0.5))


@pytest.mark.parametrize("kind", ["nms", "nms_rotated"])
def test_no_boxes_are_no_mistake(kind):
    columns = 5 if kind == "nms_rotated" else 4
    empty = torch.zeros(0, columns), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    dets, keep = mmcv.batched_nms(*empty, {"type": kind, "iou_threshold": 0.5})
    assert tuple(dets.shape) == (0, columns + 1)
    assert keep.dtype == torch.int64
    assert len(keep) == 0


def test_negative_coordinates_stay_in_their_category():
    """Shifted by the greatest coordinate, here negative, all categories would fall together."""
    boxes = torch.tensor([[-9.0, -9, -5, -5], [-9, -9, -5, -5]])
    _, keep = mmcv.batched_nms(
        boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), {"iou_threshold": 0.5}
    )
    assert keep.tolist() == [0, 1]


def test_without_settings_all_boxes_come_back_by_score():
    dets, keep = mmcv.batched_nms(SEED, SEED_SCORES, torch.zeros(4).long(), None)
    assert keep.tolist() == [1, 2, 0, 3]
    assert torch.equal(dets, torch.cat((SEED, SEED_SCORES[:, None]), dim=1)[keep])


def test_rotated_boxes_turn_clockwise_in_radians():
    boxes = torch.tensor([[10.0, 10, 8, 2, 0.3], [10, 10, 8, 2, 0.35], [10, 10, 8, 2, 0.3]])
    labels = torch.tensor([0, 0, 1])
    settings = {"type": "nms_rotated", "iou_threshold": 0.5}
    dets, keep = mmcv.batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), labels, settings)
    assert keep.tolist() == [0, 2]
    assert torch.equal(dets[:, :5], boxes[keep])


def test_the_old_name_of_the_threshold_is_accepted_with_a_warning():
    with pytest.warns(DeprecationWarning, match="iou_threshold"):
        _, keep = mmcv.batched_nms(SEED, SEED_SCORES, torch.zeros(4).long(), {"iou_thr": 0.3})
    assert keep.tolist() == [1, 0, 3]


def test_wrong_settings_are_refused():
    arguments = SEED, SEED_SCORES, torch.zeros(4).long()
    with pytest.raises(ValueError, match=r"one of 'nms'.*got '__import__'"):
        mmcv.batched_nms(*arguments, {"type": "__import__", "iou_threshold": 0.5})
    with pytest.raises(ValueError, match="offset must be 0 or 1, got 2"):
        mmcv.nms(SEED, SEED_SCORES, 0.5, offset=2)
