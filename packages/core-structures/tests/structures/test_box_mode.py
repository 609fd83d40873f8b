"""BoxMode: rows D2-501, D2-502."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import BoxMode

XYXY, XYWH, XYWHA = BoxMode.XYXY_ABS, BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS


def test_modes_are_ints():
    """D2-501."""
    values = {"XYXY_ABS": 0, "XYWH_ABS": 1, "XYXY_REL": 2, "XYWH_REL": 3, "XYWHA_ABS": 4}
    assert {mode.name: mode for mode in BoxMode} == values
    assert json.dumps({"bbox_mode": XYWH}) == '{"bbox_mode": 1}'


@pytest.mark.parametrize("container", [list, tuple])
def test_one_box_keeps_its_container(container):
    box = container([10.5, 20, 30, 40])
    result = BoxMode.convert(box, XYWH, XYXY)
    assert result == container([10.5, 20, 40.5, 60])
    assert type(result) is container


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_an_array_keeps_container_and_dtype(dtype):
    boxes = np.array([[10, 20, 30, 40]], dtype=dtype)
    result = BoxMode.convert(boxes, XYXY, XYWH)
    assert isinstance(result, np.ndarray)
    assert result.dtype == dtype
    assert result.tolist() == [[10, 20, 20, 20]]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.float32, torch.float64, torch.int32], ids=str
)
def test_a_tensor_keeps_its_dtype(dtype):
    boxes = torch.tensor([[10, 20, 30, 40]], dtype=dtype)
    result = BoxMode.convert(boxes, XYWH, XYXY)
    assert result.dtype == dtype
    assert result.tolist() == [[10, 20, 40, 60]]


def test_integers_of_a_list_stay_integers():
    result = BoxMode.convert([1, 2, 3, 4], XYWH, XYXY)
    assert result == [1, 2, 4, 6]
    assert all(type(value) is int for value in result)


def test_a_list_is_converted_in_float64():
    assert BoxMode.convert([0.1, 0.2, 0.3, 0.4], XYWH, XYXY) == [0.1, 0.2, 0.1 + 0.3, 0.2 + 0.4]


def test_equal_modes_give_the_very_object():
    for box in ([1, 2, 3, 4], np.zeros((2, 4)), torch.zeros(2, 4)):
        for mode in BoxMode:
            assert BoxMode.convert(box, mode, mode) is box


def test_the_input_is_not_changed():
    for boxes in (np.array([[1.0, 2, 3, 4]]), torch.tensor([[1.0, 2, 3, 4]])):
        result = BoxMode.convert(boxes, XYWH, XYXY)
        result[:] = -1
        assert boxes.tolist() == [[1, 2, 3, 4]]


def test_an_array_that_cannot_be_written_to_is_taken():
    boxes = np.array([[1.0, 2, 3, 4]])
    boxes.flags.writeable = False
    assert BoxMode.convert(boxes, XYWH, XYXY).tolist() == [[1, 2, 4, 6]]


def test_ints_name_modes_too():
    assert BoxMode.convert([1, 2, 3, 4], 1, 0) == [1, 2, 4, 6]


def test_a_rotated_box_becomes_its_hull():
    hull = BoxMode.convert([50.0, 30.0, 20.0, 10.0, 30.0], XYWHA, XYXY)
    width = 20 * math.cos(math.pi / 6) + 10 * math.sin(math.pi / 6)
    height = 20 * math.sin(math.pi / 6) + 10 * math.cos(math.pi / 6)
    expected = [50 - width / 2, 30 - height / 2, 50 + width / 2, 30 + height / 2]
    assert hull == pytest.approx(expected, abs=1e-12)
    assert len(hull) == 4


def test_an_upright_box_becomes_a_rotated_one_at_angle_0():
    assert BoxMode.convert([10.0, 20, 30, 40], XYWH, XYWHA) == [25, 40, 30, 40, 0]
    array = BoxMode.convert(np.array([[1, 2, 3, 4]], dtype=np.float32), XYWH, XYWHA)
    assert array.dtype == np.float32
    assert array.tolist() == [[2.5, 4, 3, 4, 0]]


@pytest.mark.parametrize("columns", [4, 5])
def test_no_boxes_are_converted(columns):
    start, end = (XYWH, XYWHA) if columns == 4 else (XYWHA, XYXY)
    shape = (0, 9 - columns)
    assert tuple(BoxMode.convert(torch.zeros(0, columns), start, end).shape) == shape
    assert BoxMode.convert(np.zeros((0, columns)), start, end).shape == shape


@pytest.mark.parametrize(("start", "end"), list(itertools.permutations(BoxMode, 2)), ids=str)
def test_what_is_not_supported_is_refused(start, end):
    box = [1.0, 2, 3, 4, 5] if start == XYWHA else [1.0, 2, 3, 4]
    if {start, end} & {BoxMode.XYXY_REL, BoxMode.XYWH_REL}:
        with pytest.raises(ValueError, match=r"relative boxes cannot be converted, got XY.._REL"):
            BoxMode.convert(box, start, end)
    elif (start, end) in {(XYXY, XYWHA), (XYWHA, XYWH)}:
        with pytest.raises(
            NotImplementedError, match=f"no conversion from {start.name} to {end.name}"
        ):
            BoxMode.convert(box, start, end)
    else:
        assert len(BoxMode.convert(box, start, end)) == (5 if end == XYWHA else 4)


@pytest.mark.parametrize(
    ("box", "mode", "message"),
    [
        ([1, 2, 3], XYWH, "XYWH_ABS has 4 numbers, got 3"),
        ((1, 2, 3, 4, 5), XYWH, "XYWH_ABS has 4 numbers, got 5"),
        ([1, 2, 3, 4], XYWHA, "XYWHA_ABS has 5 numbers, got 4"),
        (torch.zeros(2, 4), XYWHA, r"shape \(N, 5\), got \(2, 4\)"),
        (np.zeros((2, 5)), XYWH, r"shape \(N, 4\), got \(2, 5\)"),
    ],
)
def test_wrong_shapes_are_refused(box, mode, message):
    with pytest.raises(ValueError, match=message):
        BoxMode.convert(box, mode, XYXY)


def test_other_containers_are_refused():
    with pytest.raises(TypeError, match="list, tuple, array or tensor, got str"):
        BoxMode.convert("1234", XYWH, XYXY)


whole = st.integers(-1000, 1000)


@given(st.lists(st.tuples(whole, whole, whole, whole), max_size=6))
def test_there_and_back_is_the_same(rows):
    boxes = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4) / 8
    back = BoxMode.convert(BoxMode.convert(boxes, XYWH, XYXY), XYXY, XYWH)
    assert torch.equal(back, boxes)


@given(st.lists(st.tuples(whole, whole, whole, whole), max_size=6))
def test_by_way_of_a_rotated_box_is_the_same(rows):
    boxes = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4).abs() / 8
    hull = BoxMode.convert(BoxMode.convert(boxes, XYWH, XYWHA), XYWHA, XYXY)
    assert torch.equal(hull, BoxMode.convert(boxes, XYWH, XYXY))


@pytest.mark.shared
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("start", "end"), [(XYXY, XYWH), (XYWH, XYXY), (XYWH, XYWHA), (XYWHA, XYXY)]
)
def test_recorded_conversions(golden, start, end, dtype):
    case = f"boxmode/{start.name}_to_{end.name}/{dtype}"
    ours = BoxMode.convert(golden(f"{case}/in/x"), start, end)
    golden.check(ours, f"{case}/out/y")
