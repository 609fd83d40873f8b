"""BitMasks and ROIMasks: rows D2-530 to D2-536, D2-545, D2-546."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import okulo_core.structures.roi_masks as roi_masks_module
from okulo_core.structures import BitMasks, Boxes, PolygonMasks, ROIMasks

SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]


class TestBitMasks:
    """D2-530, D2-531, D2-536."""

    def test_construction(self):
        for data in (np.eye(4)[None], torch.eye(4)[None], np.eye(4, dtype=bool)[None]):
            masks = BitMasks(data)
            assert masks.tensor.dtype == torch.bool
            assert masks.image_size == (4, 4)
            assert masks.device == torch.device("cpu")
        assert repr(masks) == "BitMasks(num_instances=1, image_size=(4, 4))"
        assert masks.to("meta").device.type == "meta"
        assert [tuple(mask.shape) for mask in masks] == [(4, 4)]

    @pytest.mark.parametrize("shape", [(4, 4), (1, 1, 4, 4)], ids=str)
    def test_another_shape_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"BitMasks need shape \(N, H, W\), got"):
            BitMasks(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("item", "rows"),
        [
            (1, [1]),
            (-1, [2]),
            (slice(1, 3), [1, 2]),
            (torch.tensor([True, False, True]), [0, 2]),
            (torch.tensor([2, 0]), [2, 0]),
            (torch.zeros(3, dtype=torch.bool), []),
        ],
        ids=str,
    )
    def test_masks_are_selected_and_stay_3_d(self, item, rows):
        selected = BitMasks(torch.eye(3)[:, :, None])[item]
        assert selected.tensor[:, :, 0].int().tolist() == torch.eye(3).int()[rows].tolist()
        assert selected.image_size == (3, 1)

    def test_what_gives_another_shape_is_refused(self):
        masks = BitMasks(torch.zeros(3, 4, 4))
        with pytest.raises(ValueError, match=r"shape \(K, H, W\), got \(1, 2, 4, 4\)"):
            masks[torch.tensor([[0, 1]])]

    def test_nonempty(self):
        masks = torch.zeros(2, 4, 5)
        masks[1, 3, 4] = 1
        assert BitMasks(masks).nonempty().tolist() == [False, True]
        assert BitMasks(masks[:0]).nonempty().tolist() == []

    def test_cat(self):
        masks = BitMasks(torch.rand(2, 4, 5) > 0.5)
        both = BitMasks.cat([masks, masks[:1]])
        assert torch.equal(both.tensor, masks.tensor[[0, 1, 0]])
        with pytest.raises(ValueError, match="at least one element, got none"):
            BitMasks.cat([])
        with pytest.raises(ValueError, match=r"one image size, got \[\(4, 5\), \(5, 4\)\]"):
            BitMasks.cat([masks, BitMasks(torch.zeros(1, 5, 4))])


class TestBoundingBoxes:
    """D2-535."""

    @given(st.lists(st.lists(st.integers(0, 19), max_size=6), max_size=4))
    def test_they_hold_exactly_the_set_pixels(self, pixels):
        masks = torch.zeros(len(pixels), 20)
        for mask, chosen in zip(masks, pixels, strict=True):
            mask[chosen] = 1
        boxes = BitMasks(masks.reshape(-1, 4, 5)).get_bounding_boxes()
        expected = []
        for chosen in pixels:
            rows, columns = [p // 5 for p in chosen], [p % 5 for p in chosen]
            edges = (
                [min(columns), min(rows), max(columns) + 1, max(rows) + 1] if chosen else [0] * 4
            )
            expected.append(edges)
        assert boxes.tensor.dtype == torch.float32
        assert boxes.tensor.tolist() == expected

    def test_images_without_pixels(self):
        assert BitMasks(torch.zeros(2, 0, 5)).get_bounding_boxes().tensor.tolist() == [[0] * 4] * 2

    @pytest.mark.shared
    def test_recorded_boxes(self, golden):
        masks = BitMasks(golden("bitmask_empty_bboxes/in/mask"))
        golden.check(masks.get_bounding_boxes().tensor, "bitmask_empty_bboxes/out/bboxes")
        golden.check(masks.nonempty(), "bitmask_empty_bboxes/out/nonempty")


class TestCropAndResize:
    """D2-532."""

    def test_a_box_of_whole_pixels_gives_those_pixels(self):
        masks = BitMasks(torch.rand(2, 12, 15, generator=torch.Generator().manual_seed(0)) > 0.5)
        boxes = torch.tensor([[3.0, 2.0, 8.0, 7.0], [0.0, 0.0, 5.0, 5.0]])
        cropped = masks.crop_and_resize(boxes, 5)
        assert cropped.dtype == torch.bool
        assert torch.equal(
            cropped, torch.stack((masks.tensor[0, 2:7, 3:8], masks.tensor[1, :5, :5]))
        )

    def test_no_masks(self):
        cropped = BitMasks(torch.zeros(0, 12, 15)).crop_and_resize(torch.zeros(0, 4), 7)
        assert tuple(cropped.shape) == (0, 7, 7)
        assert cropped.dtype == torch.bool

    def test_boxes_must_be_as_many(self):
        with pytest.raises(ValueError, match=r"boxes must have shape \(2, 4\), got \(1, 4\)"):
            BitMasks(torch.zeros(2, 4, 4)).crop_and_resize(torch.zeros(1, 4), 7)

    @pytest.mark.shared
    @pytest.mark.parametrize("size", [7, 14, 28])
    def test_recorded_crops(self, golden, size):
        settings = golden.settings["polygons"]
        masks = BitMasks.from_polygon_masks(
            settings["instances"], settings["height"], settings["width"]
        )
        cropped = masks.crop_and_resize(golden(f"crop_resize_{size}/in/boxes"), size)
        golden.check(cropped, f"crop_resize_{size}/out/bitmask")


class TestFromPolygons:
    """D2-533."""

    @pytest.mark.parametrize("kind", [list, PolygonMasks], ids=["lists", "PolygonMasks"])
    def test_a_rectangle_of_whole_pixels(self, kind):
        expected = torch.zeros(2, 8, 9, dtype=torch.bool)
        expected[0, 1:4, 2:6] = True
        masks = BitMasks.from_polygon_masks(kind([[SQUARE], []]), 8, 9)
        assert torch.equal(masks.tensor, expected)

    def test_no_instances(self):
        masks = BitMasks.from_polygon_masks([], 8, 9)
        assert tuple(masks.tensor.shape) == (0, 8, 9)
        assert masks.tensor.dtype == torch.bool

    @pytest.mark.shared
    def test_recorded_masks(self, golden):
        settings = golden.settings["polygons"]
        masks = BitMasks.from_polygon_masks(
            settings["instances"], settings["height"], settings["width"]
        )
        golden.check(masks.tensor, "polygon_masks/out/bitmask")
        golden.check(masks.tensor.sum(dim=(1, 2)), "polygon_masks/out/bitmask_areas")
        golden.check(masks.get_bounding_boxes().tensor, "polygon_masks/out/bitmask_bboxes")
        golden.check(masks.nonempty(), "polygon_masks/out/bitmask_nonempty")


class TestROIMasks:
    """D2-545."""

    def test_construction(self):
        masks = ROIMasks(torch.rand(2, 7, 7))
        assert len(masks) == 2
        assert masks.to(torch.float64).tensor.dtype == torch.float64
        assert masks.device == torch.device("cpu")
        assert repr(masks) == "ROIMasks(num_instances=2)"
        with pytest.raises(ValueError, match=r"ROIMasks need shape \(N, M, M\), got \(7, 7\)"):
            ROIMasks(torch.zeros(7, 7))
        with pytest.raises(TypeError, match="ROIMasks need a tensor, got list"):
            ROIMasks([[[0.0]]])

    def test_indexing_stays_3_d(self):
        masks = ROIMasks(torch.rand(3, 7, 7))
        assert torch.equal(masks[-1].tensor, masks.tensor[2:])
        assert torch.equal(masks[torch.tensor([2, 0])].tensor, masks.tensor[[2, 0]])
        assert len(masks[torch.zeros(3, dtype=torch.bool)]) == 0
        with pytest.raises(ValueError, match=r"got \(1, 2, 7, 7\)"):
            masks[torch.tensor([[0, 1]])]


class TestPasting:
    """D2-534, D2-546."""

    MASKS = ROIMasks(torch.ones(2, 28, 28))
    BOXES = Boxes([[3.0, 2.0, 11.0, 8.0], [-5.0, -5.0, 4.0, 3.0]])

    def expected(self):
        pixels = torch.zeros(2, 16, 20, dtype=torch.bool)
        pixels[0, 2:8, 3:11] = True
        pixels[1, :3, :4] = True
        return pixels

    def test_full_masks_fill_their_boxes(self):
        for pasted in (
            self.MASKS.to_bitmasks(self.BOXES, 16, 20),
            self.MASKS.to_bitmasks(self.BOXES.tensor, 16, 20),
            BitMasks.from_roi_masks(self.MASKS, self.BOXES, 16, 20),
        ):
            assert isinstance(pasted, BitMasks)
            assert torch.equal(pasted.tensor, self.expected())

    def test_a_box_outside_the_image_gives_an_empty_mask(self):
        """Upstream raised an error."""
        outside = Boxes([[30.0, 30.0, 40.0, 40.0], [-9.0, -9.0, -1.0, -1.0]])
        assert not self.MASKS.to_bitmasks(outside, 16, 20).nonempty().any()

    def test_no_masks(self):
        pasted = ROIMasks(torch.zeros(0, 28, 28)).to_bitmasks(Boxes([]), 16, 20)
        assert tuple(pasted.tensor.shape) == (0, 16, 20)

    def test_a_negative_threshold_is_refused(self):
        with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\], got -1"):
            self.MASKS.to_bitmasks(self.BOXES, 16, 20, threshold=-1)

    def test_without_memory_on_the_device_the_cpu_does_it(self, monkeypatch):
        real, calls = roi_masks_module.paste_masks_in_image, []

        def out_of_memory_once(*arguments):
            calls.append(arguments)
            if len(calls) == 1:
                raise torch.OutOfMemoryError("no memory")
            return real(*arguments)

        monkeypatch.setattr(roi_masks_module, "paste_masks_in_image", out_of_memory_once)
        with pytest.warns(UserWarning, match="2 masks of 16 x 20 do not fit on cpu"):
            pasted = self.MASKS.to_bitmasks(self.BOXES, 16, 20)
        assert torch.equal(pasted.tensor, self.expected())

    @pytest.mark.shared
    @pytest.mark.parametrize("case", ["roimasks_paste_0.5", "roimasks_paste_0.3"])
    def test_recorded_masks(self, golden, case):
        masks, boxes = ROIMasks(golden(f"{case}/in/probs")), Boxes(golden(f"{case}/in/boxes"))
        golden.check(masks.to_bitmasks(boxes, **golden.settings[case]).tensor, f"{case}/out/mask")
