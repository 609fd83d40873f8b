"""Soft suppression and groups of suppressed boxes: rows MM-245, MM-246."""

import math

import numpy as np
import pytest
import torch

from okulo_ops import mmcv, nms_match, soft_nms
from okulo_ops._operator import OPERATORS

SEED = torch.tensor([[6.0, 3, 8, 7], [3, 6, 9, 11], [3, 7, 10, 12], [1, 4, 13, 7]])
SEED_SCORES = torch.tensor([0.6, 0.9, 0.7, 0.2])
METHODS = "naive", "linear", "gaussian"


def iou(a, b, offset):
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
    first, second = ((x1 - x0 + offset) * (y1 - y0 + offset) for x0, y0, x1, y1 in (a, b))
    return width * height / (first + second - width * height) if width * height else 0.0


def soft_reference(boxes, scores, labels, threshold, sigma, least, method, offset):
    """The paper's loop in Python's float64: (score, index) in order of choice."""
    left, chosen = dict(enumerate(scores)), []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        chosen.append((left.pop(best), best))
        for i in list(left):
            if labels[i] != labels[best]:
                overlap = 0.0
            else:
                overlap = iou(boxes[i], boxes[best], offset)
            if method == "gaussian":
                left[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                left[i] *= 0 if method == "naive" else 1 - overlap
            if left[i] < least:
                del left[i]
    return chosen


def match_reference(boxes, scores, threshold):
    free, groups = sorted(range(len(scores)), key=lambda i: -scores[i]), []
    while free:
        first = free[0]
        groups.append(
            [i for i in free if i == first or iou(boxes[first], boxes[i], 0) >= threshold]
        )
        free = [i for i in free if i not in groups[-1]]
    return groups


def random_boxes(count, extent=30.0):
    generator = torch.Generator().manual_seed(0)
    low = (torch.rand(count, 2, generator=generator) * extent).round()
    boxes = torch.cat((low, low + 5 + (torch.rand(count, 2, generator=generator) * 20).round()), 1)
    scores = (torch.randperm(count, generator=generator) + 1) / count
    return boxes, scores, torch.randint(0, 3, (count,), generator=generator)


def test_contract(check_operator, device):
    boxes, scores, labels = random_boxes(8)
    for method in range(3):
        args = boxes, scores, labels if method else None, 0.3, 0.5, 0.05, method, method % 2
        check_operator("soft_nms", args, device=device, dtypes=(torch.float64, torch.float32))
    check_operator("nms_match", (boxes, 0.3), device=device)


def test_contract_without_boxes(check_operator, device):
    none = torch.zeros(0, 4), torch.zeros(0)
    check_operator("soft_nms", (*none, None, 0.3, 0.5, 0.05, 1, 0), device=device)
    check_operator("nms_match", (none[0], 0.3), device=device)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_scores_decay_as_in_the_paper(method, offset):
    boxes, scores, labels = random_boxes(150)
    for categories in (None, labels):
        values, keep = torch.ops.okulo.soft_nms(
            boxes, scores, categories, 0.3, 0.5, 0.02, METHODS.index(method), offset
        )
        same = [0] * 150 if categories is None else labels.tolist()
        expected = soft_reference(
            boxes.tolist(), scores.tolist(), same, 0.3, 0.5, 0.02, method, offset
        )
        assert keep.tolist() == [i for _, i in expected]
        torch.testing.assert_close(
            values.tolist(), [score for score, _ in expected], rtol=1e-5, atol=0
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    boxes, scores, _ = random_boxes(40)
    dets, keep = soft_nms(boxes.to(dtype), scores.to(dtype))
    exact, order = soft_nms(boxes, scores.to(dtype).float())
    assert dets.dtype == dtype
    assert torch.equal(keep, order)
    assert torch.equal(dets, exact.to(dtype))


@pytest.mark.parametrize(
    ("method", "order", "scores"),
    [
        ("linear", [1, 0, 2, 3], [0.9, 0.6, 0.29024392, 0.2]),
        ("gaussian", [1, 0, 2, 3], [0.9, 0.59630775, 0.3527551, 0.18650459]),
        ("naive", [1, 0, 3], [0.9, 0.6, 0.2]),
    ],
)
def test_known_scores(method, order, scores):
    dets, inds = soft_nms(SEED, SEED_SCORES, 0.3, 0.5, 0.01, method)
    assert inds.tolist() == order
    torch.testing.assert_close(dets[:, 4], torch.tensor(scores))
    assert torch.equal(dets[:, :4], SEED[inds])


@pytest.mark.shared
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rest", ["t0.3.s0.5.m0.001.off0", "t0.5.s0.3.m0.05.off1"])
def test_soft_nms_agrees_with_the_recorded_result(golden_mmcv, method, rest):
    golden, case = golden_mmcv("ops_detection"), f"soft_nms.{method}.{rest}"
    settings = (0.3, 0.5, 0.001) if rest.startswith("t0.3") else (0.5, 0.3, 0.05)
    boxes, scores = golden(f"{case}.in0"), golden(f"{case}.in1")
    dets, inds = soft_nms(boxes, scores, *settings, method, int(rest[-1]))
    assert torch.equal(inds, golden(f"{case}.out1"))
    torch.testing.assert_close(dets, golden(f"{case}.out0"))


@pytest.mark.shared
def test_batched_soft_nms_agrees_with_the_recorded_result(golden_mmcv):
    golden = golden_mmcv("ops_detection")
    case = 'batched_nms.{"type": "soft_nms", "iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.01}'
    settings = {"type": "soft_nms", "iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.01}
    dets, keep = mmcv.batched_nms(*[golden(f"{case}.in{k}") for k in range(3)], settings)
    assert torch.equal(keep, golden(f"{case}.out1"))
    torch.testing.assert_close(dets, golden(f"{case}.out0"))


@pytest.mark.shared
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_groups_agree_with_the_recorded_ones(golden_mmcv, threshold):
    golden = golden_mmcv("ops_detection")
    (case,) = [c for c in golden.settings if c["name"] == f"nms_match.t{threshold}"]
    dets = torch.cat((golden("nms.t0.5.off0.in0"), golden("nms.t0.5.off0.in1")[:, None]), dim=1)
    assert [group.tolist() for group in nms_match(dets, threshold)] == case["groups"]


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_groups_are_those_of_a_loop(threshold, device):
    boxes, scores, _ = random_boxes(700, extent=80)
    scores = (scores * 50).round()  # many are equal
    expected = match_reference(boxes.tolist(), scores.tolist(), threshold)
    dets = torch.cat((boxes, scores[:, None]), dim=1).to(device)
    assert [group.tolist() for group in nms_match(dets, threshold)] == expected
    ranked = boxes[scores.argsort(descending=True, stable=True)]
    by_kernel = torch.ops.okulo.nms_match(ranked.to(device), threshold).cpu()
    assert torch.equal(by_kernel, OPERATORS["nms_match"](ranked, threshold))


def test_an_iou_equal_to_the_threshold_is_matched():
    dets = torch.tensor([[0.0, 0, 2, 1, 0.9], [0, 0, 1, 1, 0.8], [5, 5, 6, 6, 0.7]])
    assert [group.tolist() for group in nms_match(dets, 0.5)] == [[0, 1], [2]]


def test_arrays_give_arrays():
    dets, inds = soft_nms(SEED.numpy(), SEED_SCORES.numpy())
    assert isinstance(dets, np.ndarray)
    assert inds.dtype == np.int64
    groups = nms_match(np.concatenate((SEED, SEED_SCORES[:, None]), axis=1), 0.3)
    assert all(isinstance(group, np.ndarray) for group in groups)
    assert nms_match(np.zeros((0, 5)), 0.3) == []


def test_boxes_without_area_and_what_is_not_a_number_lose_no_score():
    nan = float("nan")
    boxes = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 3], [nan, 0, 4, 4], [0, 0, 4, 4]])
    for method in METHODS:
        dets, inds = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), method=method)
        assert inds.tolist() == [0, 1, 2, 3]
        assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    dets, inds = soft_nms(SEED, torch.tensor([0.6, nan, 0.7, 0.2]))
    assert inds.tolist()[0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "hard"}, "one of naive, linear, gaussian, got 'hard'"),
        ({"sigma": 0.0}, "sigma must be positive, got 0.0"),
        ({"offset": 3}, "offset must be 0 or 1, got 3"),
        ({"boxes": torch.zeros(4, 5)}, r"shape \(N, 4\), got \(4, 5\)"),
    ],
    ids=["method", "sigma", "offset", "boxes"],
)
def test_wrong_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        soft_nms(**({"boxes": SEED, "scores": SEED_SCORES} | change))


def test_rows_without_score_are_refused():
    with pytest.raises(ValueError, match=r"dets must have shape \(N, 5\), got \(4, 4\)"):
        nms_match(SEED, 0.5)
