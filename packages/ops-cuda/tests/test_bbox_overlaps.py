"""Overlap of axis-aligned boxes: row MM-228 and the numbers recorded for it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import bbox_overlaps


def reference(a, b, mode, offset):
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
    first, second = ((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b))
    shared = width * height
    whole = first + second - shared if mode == "iou" else first
    return shared / whole if shared else 0.0


corner = st.integers(-20, 20).map(lambda value: value / 2)
side = st.integers(0, 30).map(lambda value: value / 2)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
boxes = st.lists(box, max_size=6)


@given(boxes, boxes, st.sampled_from(["iou", "iof"]), st.sampled_from([0, 1]))
def test_every_pair_overlaps_as_a_loop_says(first, second, mode, offset):
    overlap = bbox_overlaps(torch.tensor(first), torch.tensor(second), mode, offset=offset)
    expected = [[reference(a, b, mode, offset) for b in second] for a in first]
    assert tuple(overlap.shape) == (len(first), len(second))
    torch.testing.assert_close(
        overlap, torch.tensor(expected, dtype=torch.float32).reshape(overlap.shape)
    )


@given(boxes, st.sampled_from(["iou", "iof"]), st.sampled_from([0, 1]))
def test_aligned_boxes_give_the_diagonal(first, mode, offset):
    both = torch.tensor(first).reshape(-1, 4)
    aligned = bbox_overlaps(both, both.flip(0), mode, aligned=True, offset=offset)
    every = bbox_overlaps(both, both.flip(0), mode, offset=offset)
    assert tuple(aligned.shape) == (len(first),)
    assert torch.equal(aligned, every.diagonal())


def some_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 8
    return torch.cat((low, low + 2 + torch.rand(count, 2, generator=generator) * 6), dim=1)


def test_contract(check_operator, device):
    first, second = some_boxes(3, 0), some_boxes(4, 1)
    check_operator("bbox_overlaps", (first, second, False, False, 0), wrt=(0, 1), device=device)
    check_operator("bbox_overlaps", (first, second[:3], True, True, 1), wrt=(0, 1), device=device)


def test_contract_without_boxes(check_operator, device):
    none, some = torch.zeros(0, 4), some_boxes(2, 0)
    check_operator("bbox_overlaps", (none, some, False, False, 0), wrt=(0, 1), device=device)
    check_operator("bbox_overlaps", (none, none, False, True, 0), wrt=(0, 1), device=device)


@pytest.mark.shared
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_recorded_numbers(golden_mmcv, mode, offset, aligned):
    golden = golden_mmcv("ops_detection")
    case = f"bbox_overlaps.{mode}.off{offset}" + (".aligned" if aligned else "")
    first, second = golden(f"{case}.in0"), golden(f"{case}.in1")
    ours = bbox_overlaps(first[: len(second)] if aligned else first, second, mode, aligned, offset)
    torch.testing.assert_close(ours, golden(f"{case}.out"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_what_is_not_a_number_overlaps_nothing(device, mode):
    boxes = some_boxes(40, 0)
    boxes[::3, 1] = boxes[1::5, 2] = float("nan")
    known = ~boxes.isnan().any(dim=1)
    overlap = bbox_overlaps(boxes.to(device), boxes.to(device), mode).cpu()
    assert not overlap[~known].any()
    assert not overlap[:, ~known].any()
    assert (overlap.diagonal()[known] == 1).all()


def test_recorded_numbers_with_an_offset():
    first = torch.tensor([[1.0, 1, 3, 4], [2, 2, 3, 4], [7, 7, 8, 8]])
    second = torch.tensor([[0.0, 2, 2, 5], [2, 1, 3, 3]])
    expected = torch.tensor([[0.3333, 0.5], [0.2, 0.5], [0, 0]])
    torch.testing.assert_close(bbox_overlaps(first, second, offset=1), expected, rtol=0, atol=1e-4)
    one, row = (
        torch.tensor([[0.0, 0, 3, 3]]),
        torch.tensor([[4.0, 0, 5, 3], [3, 0, 4, 3], [2, 0, 3, 3], [1, 0, 2, 3]]),
    )
    torch.testing.assert_close(
        bbox_overlaps(one, row, offset=1), torch.tensor([[0, 0.2, 0.5, 0.5]])
    )


def test_boxes_without_area_give_0_and_not_nan():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert bbox_overlaps(point, point).item() == 0
    assert bbox_overlaps(point, point, "iof").item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_dtype_is_kept_and_areas_do_not_overflow(dtype):
    boxes = torch.tensor([[0, 0, 1000, 1000], [0, 0, 1000, 500]], dtype=dtype)
    overlap = bbox_overlaps(boxes, boxes)
    assert overlap.dtype == dtype
    assert overlap.tolist() == [[1.0, 0.5], [0.5, 1.0]]


@pytest.mark.parametrize("nothing", [torch.zeros(0), torch.zeros(0, 4)], ids=["(0,)", "(0, 4)"])
def test_no_boxes_keep_their_shape(nothing):
    two = torch.zeros(2, 4)
    assert tuple(bbox_overlaps(nothing, two).shape) == (0, 2)
    assert tuple(bbox_overlaps(two, nothing).shape) == (2, 0)
    assert tuple(bbox_overlaps(nothing, nothing, aligned=True).shape) == (0,)


def test_gradients_are_those_of_the_formula():
    first = torch.tensor([[0.0, 0, 4, 3], [5, 5, 9, 9]], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([[1.0, 1, 6, 7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bbox_overlaps, (first, second))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "giou"}, "mode must be 'iou' or 'iof', got 'giou'"),
        ({"offset": 2}, "offset must be 0 or 1, got 2"),
        ({"aligned": True}, "equally many, got 2 and 3; use aligned=False"),
    ],
    ids=["mode", "offset", "aligned"],
)
def test_wrong_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        bbox_overlaps(torch.zeros(2, 4), torch.zeros(3, 4), **arguments)
