"""PolygonMasks and drawing of polygons: rows D2-537 to D2-544."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import (
    PolygonMasks,
    polygon_area,
    polygons_to_bitmask,
    rasterize_polygons_within_box,
)

SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]
TRIANGLE = [0.0, 0.0, 4.0, 0.0, 0.0, 4.0]


def some(count=4):
    """Instance k is a triangle shifted by k."""
    return PolygonMasks([[[k + value for value in TRIANGLE]] for k in range(count)])


def shifts(masks):
    return [polygons[0][0] for polygons in masks]


class TestConstruction:
    """D2-537."""

    def test_polygons_are_float64_on_the_cpu(self):
        kinds = [
            SQUARE,
            np.array(SQUARE, dtype=np.float32),
            torch.tensor(SQUARE, dtype=torch.int32),
        ]
        masks = PolygonMasks([kinds, []])
        assert len(masks) == 2
        assert masks.device == torch.device("cpu")
        assert masks.to("meta") is masks
        for polygon in masks.polygons[0]:
            assert isinstance(polygon, np.ndarray)
            assert polygon.dtype == np.float64
            assert polygon.tolist() == SQUARE
        assert repr(masks) == "PolygonMasks(num_instances=2)"
        assert [len(polygons) for polygons in masks] == [3, 0]

    @pytest.mark.parametrize(
        ("polygons", "message"),
        [
            ((), "a list of instances, got tuple"),
            (np.zeros((1, 1, 6)), "a list of instances, got ndarray"),
            ([[SQUARE], (SQUARE,)], "list of polygons, got tuple for instance 1"),
            ([[SQUARE], [SQUARE[:7]]], r"instance 1: .* at least 3 points, got shape \(7,\)"),
            ([[SQUARE[:4]]], r"instance 0: .* at least 3 points, got shape \(4,\)"),
            ([[[]]], r"at least 3 points, got shape \(0,\)"),
            ([[[[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]]], r"a flat .*, got shape \(3, 2\)"),
        ],
        ids=["tuple", "array", "tuple inside", "odd", "two points", "no points", "pairs"],
    )
    def test_other_forms_are_refused(self, polygons, message):
        with pytest.raises(ValueError, match=message):
            PolygonMasks(polygons)

    def test_cat(self):
        assert shifts(PolygonMasks.cat([some(2), PolygonMasks([]), some(3)])) == [0, 1, 0, 1, 2]
        with pytest.raises(ValueError, match="at least one element, got none"):
            PolygonMasks.cat([])
        with pytest.raises(TypeError, match="needs PolygonMasks only, got list"):
            PolygonMasks.cat([[SQUARE]])


class TestIndexing:
    """D2-538."""

    @pytest.mark.parametrize(
        ("item", "rows"),
        [
            (1, [1]),
            (-1, [3]),
            (slice(1, 3), [1, 2]),
            ([3, 0], [3, 0]),
            ([], []),
            (torch.tensor([True, False, False, True]), [0, 3]),
            (torch.zeros(4, dtype=torch.bool), []),
            (torch.tensor([2, 2]), [2, 2]),
            (torch.tensor([2, 0], dtype=torch.int32), [2, 0]),
            (torch.zeros(0, dtype=torch.int64), []),
        ],
        ids=str,
    )
    def test_instances_are_selected(self, item, rows):
        selected = some()[item]
        assert isinstance(selected, PolygonMasks)
        assert shifts(selected) == rows

    @pytest.mark.parametrize(
        "item",
        [
            torch.tensor([1.0, 0.0]),
            torch.tensor([1], dtype=torch.int16),
            torch.tensor([[True] * 4]),
        ],
        ids=["float", "int16", "matrix"],
    )
    def test_other_tensors_are_refused(self, item):
        with pytest.raises(ValueError, match="a vector of bool, int32 or int64, got shape"):
            some()[item]

    def test_a_mask_of_another_length_is_refused(self):
        with pytest.raises(ValueError, match="over 4 instances must be as long, got 2"):
            some()[torch.tensor([True, False])]


class TestMeasures:
    """D2-539, D2-541, D2-542."""

    def test_area_adds_polygons_up(self):
        masks = PolygonMasks([[SQUARE], [TRIANGLE, TRIANGLE], []])
        assert masks.area().dtype == torch.float64
        assert masks.area().tolist() == [12, 16, 0]
        assert PolygonMasks([]).area().tolist() == []

    def test_bounding_boxes(self):
        masks = PolygonMasks([[SQUARE], [SQUARE, TRIANGLE], []])
        boxes = masks.get_bounding_boxes()
        assert boxes.tensor.dtype == torch.float32
        assert boxes.tensor.tolist() == [[2, 1, 6, 4], [0, 0, 6, 4], [0, 0, 0, 0]]
        assert tuple(PolygonMasks([]).get_bounding_boxes().tensor.shape) == (0, 4)

    def test_bounding_boxes_at_negative_coordinates(self):
        """Upstream started the maximum at 0."""
        masks = PolygonMasks([[[value - 50 for value in SQUARE]]])
        assert masks.get_bounding_boxes().tensor.tolist() == [[-48, -49, -44, -46]]

    def test_nonempty(self):
        assert PolygonMasks([[SQUARE], []]).nonempty().tolist() == [True, False]
        assert PolygonMasks([]).nonempty().dtype == torch.bool

    @pytest.mark.shared
    def test_recorded_measures(self, golden):
        masks = PolygonMasks(golden.settings["polygons"]["instances"])
        golden.check(masks.area(), "polygon_masks/out/area")
        golden.check(masks.nonempty(), "polygon_masks/out/nonempty")
        golden.check(masks.get_bounding_boxes().tensor, "polygon_masks/out/bboxes")


whole = st.integers(-20, 20)


class TestArea:
    """D2-544."""

    @given(whole, whole, st.integers(1, 20), st.integers(1, 20), st.booleans())
    def test_a_rectangle_has_the_product_of_its_sides(self, x, y, width, height, reverse):
        xs, ys = [x, x + width, x + width, x], [y, y, y + height, y + height]
        step = -1 if reverse else 1
        assert polygon_area(xs[::step], ys[::step]) == width * height

    @given(st.tuples(whole, whole), st.tuples(whole, whole), st.tuples(whole, whole))
    def test_a_triangle_has_half_the_determinant(self, a, b, c):
        det = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        assert polygon_area(*np.array([a, b, c]).T) == abs(det) / 2


class TestDrawing:
    """D2-543, D2-544."""

    @given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 9), st.integers(1, 9))
    def test_a_rectangle_of_whole_pixels_is_filled_exactly(self, x, y, width, height):
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        expected = np.zeros((12, 14), dtype=bool)
        expected[y : y + height, x : x + width] = True
        mask = polygons_to_bitmask([corners], 12, 14)
        assert mask.dtype == bool
        assert (mask == expected).all()

    def test_polygons_are_united(self):
        both = polygons_to_bitmask([SQUARE, TRIANGLE], 8, 9)
        each = [polygons_to_bitmask([p], 8, 9) for p in (SQUARE, TRIANGLE)]
        assert (both == (each[0] | each[1])).all()

    def test_no_polygons_set_nothing(self):
        mask = polygons_to_bitmask([], 8, 9)
        assert mask.shape == (8, 9)
        assert mask.dtype == bool
        assert not mask.any()

    def test_what_cannot_be_drawn_is_refused(self):
        with pytest.raises(ValueError, match="at least 3 points"):
            polygons_to_bitmask([[1.0, 2.0, 3.0, 4.0]], 8, 9)  # COCO's tools would take it as a box
        with pytest.raises(ValueError, match="finite to be drawn, got NaN or infinity"):
            polygons_to_bitmask([[*TRIANGLE[:5], float("nan")]], 8, 9)

    def test_a_box_is_seen_at_another_scale(self):
        seen = rasterize_polygons_within_box([np.array(SQUARE)], np.array([0.0, 0.0, 8.0, 8.0]), 16)
        expected = polygons_to_bitmask([np.array(SQUARE) * 2], 16, 16)
        assert seen.dtype == torch.bool
        assert torch.equal(seen, torch.from_numpy(expected))

    def test_each_axis_has_its_scale(self):
        seen = rasterize_polygons_within_box([SQUARE], [2, 1, 6, 4], 12)
        assert seen.all()
        seen = rasterize_polygons_within_box([SQUARE], [0, 1, 8, 4], 8)
        assert seen[:, 2:6].all()
        assert seen.sum() == 8 * 4

    def test_a_box_without_area_does_not_divide_by_zero(self):
        assert rasterize_polygons_within_box([SQUARE], [3, 3, 3, 3], 7).all()


class TestCropAndResize:
    """D2-540."""

    def test_it_is_the_drawing_of_each_instance_in_its_box(self):
        masks = PolygonMasks([[SQUARE], [SQUARE, TRIANGLE], []])
        before = [p.copy() for each in masks for p in each]
        boxes = torch.tensor([[0.0, 0, 8, 8], [1, 0, 5, 9], [0, 0, 5, 5]])
        cropped = masks.crop_and_resize(boxes, 10)
        assert cropped.dtype == torch.bool
        for row, polygons, box in zip(cropped, masks, boxes, strict=True):
            assert torch.equal(row, rasterize_polygons_within_box(polygons, box.numpy(), 10))
        after = [p for each in masks for p in each]
        assert all((a == b).all() for a, b in zip(before, after, strict=True))

    def test_no_instances(self):
        cropped = PolygonMasks([]).crop_and_resize(torch.zeros(0, 4), 7)
        assert tuple(cropped.shape) == (0, 7, 7)
        assert cropped.dtype == torch.bool

    def test_boxes_must_be_as_many(self):
        with pytest.raises(ValueError, match=r"boxes must have shape \(4, 4\), got \(1, 4\)"):
            some().crop_and_resize(torch.zeros(1, 4), 7)

    @pytest.mark.shared
    @pytest.mark.parametrize("size", [7, 14, 28])
    def test_recorded_crops(self, golden, size):
        masks = PolygonMasks(golden.settings["polygons"]["instances"])
        cropped = masks.crop_and_resize(golden(f"crop_resize_{size}/in/boxes"), size)
        golden.check(cropped, f"crop_resize_{size}/out/polygon")
