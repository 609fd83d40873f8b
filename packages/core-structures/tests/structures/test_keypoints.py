"""Keypoints and heat maps: rows D2-526 to D2-529."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import Keypoints, heatmaps_to_keypoints


class TestKeypoints:
    """D2-526, D2-527."""

    def test_construction(self):
        for data in (np.ones((2, 5, 3)), torch.ones(2, 5, 3).double(), np.ones((2, 5, 3)).tolist()):
            keypoints = Keypoints(data)
            assert keypoints.tensor.dtype == torch.float32
            assert tuple(keypoints.tensor.shape) == (2, 5, 3)
            assert keypoints.device == torch.device("cpu")
        assert repr(keypoints) == "Keypoints(num_instances=2, num_keypoints=5)"
        assert len(keypoints) == 2
        assert keypoints.to("meta").device.type == "meta"

    @pytest.mark.parametrize("shape", [(5, 3), (2, 5, 2), (0,)], ids=str)
    def test_another_shape_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"Keypoints need shape \(N, K, 3\)"):
            Keypoints(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("item", "rows"),
        [
            (1, [1]),
            (-1, [2]),
            (slice(0, 2), [0, 1]),
            (torch.tensor([True, False, True]), [0, 2]),
            (torch.tensor([2, 2]), [2, 2]),
            (torch.zeros(3, dtype=torch.bool), []),
        ],
        ids=str,
    )
    def test_instances_are_selected(self, item, rows):
        tensor = torch.arange(3.0)[:, None, None].expand(3, 2, 3)
        selected = Keypoints(tensor)[item]
        assert tuple(selected.tensor.shape) == (len(rows), 2, 3)
        assert selected.tensor[:, 0, 0].tolist() == rows

    def test_cat(self):
        keypoints = Keypoints(torch.rand(2, 5, 3))
        both = Keypoints.cat([keypoints, keypoints[:1]])
        assert torch.equal(both.tensor, keypoints.tensor[[0, 1, 0]])
        with pytest.raises(ValueError, match="at least one element, got none"):
            Keypoints.cat([])
        with pytest.raises(TypeError, match="needs Keypoints only, got Tensor"):
            Keypoints.cat([keypoints.tensor])


def cell(point, box, size):
    """Column or row of a coordinate in a grid over [box[0], box[1]], in Python's float64."""
    if point == box[1]:
        return size - 1
    return math.floor((point - box[0]) * (size / (box[1] - box[0])))


quarter = st.integers(-40, 40).map(lambda value: value / 4)


class TestToHeatmap:
    """D2-528."""

    @given(
        st.lists(st.tuples(quarter, quarter, st.integers(0, 2)), min_size=1, max_size=5),
        st.tuples(quarter, quarter, st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8])),
        st.sampled_from([1, 4, 8]),
    )
    def test_cells_are_those_of_the_formula(self, points, box, size):
        x0, y0, width, height = box
        labels, valid = Keypoints([points]).to_heatmap(
            torch.tensor([[x0, y0, x0 + width, y0 + height]]), size
        )
        assert labels.dtype == valid.dtype == torch.int64
        for k, (x, y, visible) in enumerate(points):
            column, row = cell(x, (x0, x0 + width), size), cell(y, (y0, y0 + height), size)
            counts = 0 <= column < size and 0 <= row < size and visible > 0
            assert valid[0, k] == counts
            assert labels[0, k] == (row * size + column if counts else 0)

    def test_the_far_border_belongs_to_the_last_cell(self):
        box = torch.tensor([[2.0, 3.0, 10.0, 11.0]])
        labels, valid = Keypoints([[[10.0, 11.0, 2.0], [2.0, 3.0, 1.0]]]).to_heatmap(box, 4)
        assert labels.tolist() == [[15, 0]]
        assert valid.tolist() == [[1, 1]]

    def test_nothing_counts_in_a_box_without_area(self):
        boxes = torch.tensor([[2.0, 3.0, 2.0, 11.0], [5.0, 3.0, 2.0, 11.0]])
        points = [[[2.0, 5.0, 2.0], [3.0, 5.0, 2.0]]] * 2
        labels, valid = Keypoints(points).to_heatmap(boxes, 4)
        assert labels.tolist() == [[0, 0], [0, 0]]
        assert valid.tolist() == [[0, 0], [0, 0]]

    def test_no_instances(self):
        labels, valid = Keypoints(torch.zeros(0, 5, 3)).to_heatmap(torch.zeros(0, 4), 4)
        assert tuple(labels.shape) == tuple(valid.shape) == (0, 5)
        assert labels.dtype == valid.dtype == torch.int64

    def test_boxes_must_be_as_many(self):
        with pytest.raises(ValueError, match=r"boxes must have shape \(2, 4\), got \(1, 4\)"):
            Keypoints(torch.zeros(2, 5, 3)).to_heatmap(torch.zeros(1, 4), 4)

    @pytest.mark.shared
    @pytest.mark.parametrize("size", [14, 56])
    def test_recorded_cells(self, golden, size):
        case = f"keypoints_to_heatmap_{size}"
        keypoints = Keypoints(golden(f"{case}/in/keypoints"))
        labels, valid = keypoints.to_heatmap(golden(f"{case}/in/boxes"), size)
        golden.check(labels, f"{case}/out/heatmap_index")
        golden.check(valid, f"{case}/out/valid")


class TestHeatmapsToKeypoints:
    """D2-529."""

    def test_a_map_of_the_regions_size_is_read_cell_by_cell(self):
        maps = torch.zeros(1, 2, 6, 8)
        maps[0, 0, 2, 5], maps[0, 1, 0, 0] = 3.0, 2.0
        found = heatmaps_to_keypoints(maps, torch.tensor([[10.0, 20.0, 18.0, 26.0]]))[0]
        assert found[0, :3].tolist() == [15.5, 22.5, 3]
        assert found[1, :3].tolist() == [10.5, 20.5, 2]
        others = 6 * 8 - 1
        expected = [1 / (1 + others * math.exp(-logit)) for logit in (3, 2)]
        assert found[:, 3].tolist() == pytest.approx(expected, rel=1e-6)

    def test_a_side_that_is_no_whole_number_stretches_the_pixels(self):
        maps = torch.zeros(1, 1, 6, 8)
        maps[0, 0, 2, 5] = 3.0
        x, y = heatmaps_to_keypoints(maps, torch.tensor([[10.0, 20.0, 17.5, 25.25]]))[0, 0, :2]
        assert x.item() == pytest.approx(10 + 5.5 * 7.5 / 8)
        assert y.item() == pytest.approx(20 + 2.5 * 5.25 / 6)

    def test_a_region_below_a_pixel_counts_as_one(self):
        maps = torch.rand(1, 1, 4, 4)
        found = heatmaps_to_keypoints(maps, torch.tensor([[3.0, 5.0, 3.0, 5.25]]))
        assert found[0, 0, :2].tolist() == [3.5, 5.5]

    def test_the_peak_of_a_smooth_map_is_found(self):
        rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
        maps = -((columns + 0.5 - 9.3) ** 2 + (rows + 0.5 - 4.1) ** 2)[None, None]
        x, y = heatmaps_to_keypoints(maps, torch.tensor([[0.0, 0.0, 140.0, 70.0]]))[0, 0, :2]
        assert x.item() == pytest.approx(93, abs=2)
        assert y.item() == pytest.approx(20.5, abs=2)

    def test_no_regions(self):
        found = heatmaps_to_keypoints(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4))
        assert tuple(found.shape) == (0, 17, 4)

    def test_it_carries_no_gradient(self):
        maps = torch.rand(1, 1, 4, 4, requires_grad=True)
        assert not heatmaps_to_keypoints(maps, torch.tensor([[0.0, 0, 4, 4]])).requires_grad

    def test_wrong_input_is_refused(self):
        with pytest.raises(ValueError, match=r"maps must have shape \(R, K, H, W\), got \(4, 4\)"):
            heatmaps_to_keypoints(torch.zeros(4, 4), torch.zeros(1, 4))
        with pytest.raises(ValueError, match=r"rois must have shape \(2, 4\), got \(1, 4\)"):
            heatmaps_to_keypoints(torch.zeros(2, 1, 4, 4), torch.zeros(1, 4))

    @pytest.mark.shared
    def test_recorded_keypoints(self, golden):
        case = "heatmaps_to_keypoints"
        found = heatmaps_to_keypoints(golden(f"{case}/in/maps"), golden(f"{case}/in/rois"))
        golden.check(found, f"{case}/out/xy_logit_score")
