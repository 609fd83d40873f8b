"""Boxes: rows D2-095, D2-503 to D2-512."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import Boxes

ROWS = [[0.0, 0.0, 10.0, 5.0], [2.0, 3.0, 4.0, 9.0], [5.0, 5.0, 5.0, 8.0], [9.0, 8.0, 3.0, 2.0]]


@pytest.fixture
def boxes():
    return Boxes(ROWS)


class TestConstruction:
    """D2-503."""

    @pytest.mark.parametrize(
        "make", [list, np.array, torch.tensor], ids=["list", "array", "tensor"]
    )
    def test_numbers_of_any_container_become_float32(self, make):
        boxes = Boxes(make(ROWS))
        assert boxes.tensor.dtype == torch.float32
        assert boxes.tensor.tolist() == ROWS
        assert boxes.device == torch.device("cpu")

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64], ids=str)
    def test_a_tensor_is_cast_to_float32(self, dtype):
        assert Boxes(torch.tensor(ROWS, dtype=dtype)).tensor.dtype == torch.float32

    def test_a_float32_tensor_is_shared_not_copied(self):
        tensor = torch.tensor(ROWS)
        assert Boxes(tensor).tensor is tensor

    @pytest.mark.parametrize(
        "nothing", [[], torch.zeros(0), torch.zeros(0, 5), torch.zeros(3, 0), torch.zeros(0, 4)]
    )
    def test_no_numbers_of_any_shape_are_no_boxes(self, nothing):
        boxes = Boxes(nothing)
        assert tuple(boxes.tensor.shape) == (0, 4)
        assert len(boxes) == 0

    def test_no_boxes_stay_on_their_device(self):
        assert Boxes(torch.zeros(0, device="meta")).device.type == "meta"

    @pytest.mark.parametrize("shape", [(4,), (2, 5), (1, 2, 4), ()], ids=str)
    def test_another_shape_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"Boxes need shape \(N, 4\), got"):
            Boxes(torch.zeros(shape))

    def test_len_and_repr(self, boxes):
        assert len(boxes) == 4
        assert repr(boxes).startswith("Boxes(tensor([[")

    def test_a_clone_shares_nothing(self, boxes):
        other = boxes.clone()
        other.tensor += 1
        assert boxes.tensor.tolist() == ROWS

    def test_to_moves_and_takes_no_dtype(self, boxes):
        assert boxes.to("meta").device.type == "meta"
        assert boxes.to(torch.device("cpu"), non_blocking=True).tensor.tolist() == ROWS
        with pytest.raises(TypeError):
            boxes.to(torch.float64)


class TestIndexing:
    """D2-504, D2-505."""

    def test_an_int_gives_one_row(self, boxes):
        assert boxes[1].tensor.tolist() == [ROWS[1]]
        assert boxes[-1].tensor.tolist() == [ROWS[3]]

    @pytest.mark.parametrize(
        ("item", "rows"),
        [
            (slice(1, 3), [1, 2]),
            (torch.tensor([True, False, False, True]), [0, 3]),
            (torch.tensor([3, 0, 3]), [3, 0, 3]),
            ([2, 1], [2, 1]),
            (torch.zeros(4, dtype=torch.bool), []),
            (slice(0, 0), []),
        ],
        ids=["slice", "mask", "indices", "list", "no mask", "empty slice"],
    )
    def test_rows_are_selected(self, boxes, item, rows):
        assert boxes[item].tensor.tolist() == [ROWS[row] for row in rows]

    def test_a_slice_shares_memory(self, boxes):
        boxes[1:3].tensor.zero_()
        assert boxes.tensor[1].tolist() == [0, 0, 0, 0]

    def test_what_gives_no_matrix_is_refused(self, boxes):
        with pytest.raises(ValueError, match=r"must give shape \(K, 4\), got \(2, 2, 4\)"):
            boxes[torch.tensor([[0, 1], [1, 0]])]
        with pytest.raises(ValueError, match=r"must give shape \(K, 4\), got \(4, 2\)"):
            boxes[:, :2]
        with pytest.raises(IndexError):
            boxes[4]

    def test_iteration_yields_vectors(self, boxes):
        assert [row.tolist() for row in boxes] == ROWS
        assert all(tuple(row.shape) == (4,) for row in boxes)
        assert list(Boxes([])) == []


class TestMeasures:
    """D2-095, D2-506, D2-509 to D2-511."""

    def test_area_has_no_plus_one_and_may_be_negative(self, boxes):
        inverted = Boxes([[4.0, 0.0, 0.0, 5.0]])
        assert boxes.area().tolist() == [50, 12, 0, 36]
        assert inverted.area().tolist() == [-20]
        assert Boxes([[0.0, 0.0, 1.0, 1.0]]).area().item() == 1

    def test_nonempty_wants_both_sides_above_the_threshold(self, boxes):
        assert boxes.nonempty().tolist() == [True, True, False, False]
        assert boxes.nonempty(2.0).tolist() == [True, False, False, False]

    def test_inside_excludes_the_right_and_bottom_border(self):
        boxes = Boxes(
            [[0, 0, 19.9, 9.9], [0, 0, 20, 9], [0, 0, 19, 10], [-1, 0, 5, 5], [0, -1, 5, 5]]
        )
        assert boxes.inside_box((10, 20)).tolist() == [True, False, False, False, False]
        assert boxes.inside_box((10, 20), 1).tolist() == [True] * 5
        assert boxes.inside_box((9, 19), 1).tolist() == [True, False, False, True, True]

    def test_centers_are_mid_points(self, boxes):
        assert boxes.get_centers().tolist() == [[5, 2.5], [3, 6], [5, 6.5], [6, 5]]

    def test_no_boxes_have_empty_measures(self):
        nothing = Boxes([])
        assert tuple(nothing.area().shape) == (0,)
        assert nothing.nonempty().dtype == torch.bool
        assert tuple(nothing.inside_box((5, 5)).shape) == (0,)
        assert tuple(nothing.get_centers().shape) == (0, 2)


class TestCat:
    """D2-507."""

    def test_rows_follow_in_order(self, boxes):
        both = Boxes.cat([boxes, Boxes([]), boxes[:1]])
        assert both.tensor.tolist() == [*ROWS, ROWS[0]]

    def test_nothing_gives_no_boxes(self):
        assert tuple(Boxes.cat([]).tensor.shape) == (0, 4)

    def test_a_single_element_is_copied(self, boxes):
        Boxes.cat((boxes,)).tensor.zero_()
        assert boxes.tensor.tolist() == ROWS

    def test_other_things_are_refused(self, boxes):
        with pytest.raises(TypeError, match="a list or tuple of Boxes, got Boxes"):
            Boxes.cat(boxes)
        with pytest.raises(TypeError, match="needs Boxes only, got Tensor"):
            Boxes.cat([boxes, boxes.tensor])


class TestInPlace:
    """D2-508, D2-512."""

    def test_clip_cuts_to_the_image(self):
        boxes = Boxes([[-5, -6, 30, 40], [1, 2, 3, 4], [25, 0, 30, 5]])
        boxes.clip((10, 20))
        assert boxes.tensor.tolist() == [[0, 0, 20, 10], [1, 2, 3, 4], [20, 0, 20, 5]]

    def test_clip_leaves_the_old_tensor_alone(self):
        tensor = torch.tensor([[-5.0, 0, 5, 5]])
        boxes = Boxes(tensor)
        boxes.clip((10, 10))
        assert tensor[0, 0] == -5

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_clip_refuses_what_is_not_finite(self, bad):
        boxes = Boxes([[0, 0, 1, 1], [0, bad, 1, 1], [bad, 0, 1, 1]])
        with pytest.raises(ValueError, match="NaN or infinity in 2 of 3, the first at row 1"):
            boxes.clip((10, 10))

    def test_gradients_pass_through_clip(self):
        tensor = torch.tensor([[-5.0, 1, 5, 5]], requires_grad=True)
        boxes = Boxes(tensor)
        boxes.clip((10, 10))
        boxes.tensor.sum().backward()
        assert tensor.grad.tolist() == [[0, 1, 1, 1]]

    def test_scale_changes_the_shared_tensor(self):
        tensor = torch.tensor([[1.0, 2, 3, 4]])
        Boxes(tensor).scale(2, 0.5)
        assert tensor.tolist() == [[2, 1, 6, 2]]

    def test_no_boxes_are_clipped_and_scaled(self):
        boxes = Boxes([])
        boxes.clip((5, 5))
        boxes.scale(2, 2)
        assert tuple(boxes.tensor.shape) == (0, 4)


coordinate = st.floats(-100, 100, width=32)
rows = st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=8)


@given(rows, st.integers(1, 60), st.integers(1, 60))
def test_clipping_puts_every_corner_into_the_image_and_repeats_without_effect(rows, height, width):
    boxes = Boxes(rows)
    boxes.clip((height, width))
    once = boxes.tensor
    limit = torch.tensor([width, height, width, height])
    assert ((once >= 0) & (once <= limit)).all()
    boxes.clip((height, width))
    assert torch.equal(boxes.tensor, once)


@given(rows, st.data())
def test_indexing_is_that_of_a_list(rows, data):
    picked = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=5)) if rows else []
    index = torch.tensor(picked, dtype=torch.int64)
    assert Boxes(rows)[index].tensor.tolist() == [list(rows[k]) for k in picked]


def test_functions_of_boxes_compile_as_one_graph():
    def area_inside(tensor):
        boxes = Boxes(tensor)
        boxes.clip((20, 30))
        boxes.scale(2.0, 2.0)
        return Boxes.cat([boxes, boxes[1:]]).area()

    tensor = torch.tensor(ROWS)
    compiled = torch.compile(area_inside, fullgraph=True, backend="eager")
    assert torch.equal(compiled(tensor), area_inside(tensor))


@pytest.mark.shared
class TestRecorded:
    """The numbers of section 6 of the golden data."""

    def test_measures(self, golden):
        boxes = Boxes(golden("boxes_area_centers/in/a"))
        golden.check(boxes.area(), "boxes_area_centers/out/area")
        golden.check(boxes.get_centers(), "boxes_area_centers/out/centers")

    @pytest.mark.parametrize("case", ["boxes_nonempty_0", "boxes_nonempty_1", "boxes_nonempty_20"])
    def test_nonempty(self, golden, case):
        mask = Boxes(golden(f"{case}/in/a")).nonempty(**golden.settings[case])
        golden.check(mask, f"{case}/out/mask")

    @pytest.mark.parametrize("case", ["boxes_inside_0", "boxes_inside_10"])
    def test_inside(self, golden, case):
        settings = golden.settings[case]
        mask = Boxes(golden(f"{case}/in/a")).inside_box(
            settings["box_size_hw"], settings["boundary_threshold"]
        )
        golden.check(mask, f"{case}/out/mask")

    def test_clip(self, golden):
        boxes = Boxes(golden("boxes_clip/in/a"))
        boxes.clip(golden.settings["boxes_clip"]["box_size_hw"])
        golden.check(boxes.tensor, "boxes_clip/out/clipped")

    def test_scale(self, golden):
        boxes = Boxes(golden("boxes_scale/in/a"))
        boxes.scale(**golden.settings["boxes_scale"])
        golden.check(boxes.tensor, "boxes_scale/out/scaled")
