"""Annotations of an image: D2-157 to D2-160, D2-163, and broken ones."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from okulo_core.errors import DataError
from okulo_core.structures import BoxMode, Instances
from okulo_core.testing import shared_path
from okulo_transforms.annotations import (
    annotations_to_instances,
    filter_empty_instances,
    transform_instance_annotations,
    transform_keypoint_annotations,
)
from okulo_transforms.flip import HFlipTransform, VFlipTransform
from okulo_transforms.resize import ResizeTransform
from okulo_transforms.transform import NoOpTransform, TransformList

FLIP_ORDER = [1, 0, 2, 3]
TRANSFORMS = {
    "resize": [ResizeTransform(42, 57, 63, 114)],
    "resize_hflip": [ResizeTransform(42, 57, 63, 114), HFlipTransform(114)],
    "vflip": [VFlipTransform(42)],
}


@pytest.fixture(scope="module")
def golden():
    folder = shared_path("golden/detectron2/data/transforms.npz").parent
    return np.load(folder / "transforms.npz"), json.loads((folder / "transforms.json").read_text())


def transformed(golden, case, indices):
    items, size = golden[1]["annotations"]["items"], tuple(golden[1]["annotations"]["image_hw"])
    size = tuple(golden[1][f"anno/{case}/transformed"]["output_hw"])
    return size, [
        transform_instance_annotations(
            items[i], TRANSFORMS[case], size, keypoint_hflip_indices=FLIP_ORDER
        )
        for i in indices
    ]


@pytest.mark.shared
@pytest.mark.parametrize("case", list(TRANSFORMS))
def test_transformed_annotations_are_detectron2s(golden, case):
    arrays, stated = golden
    indices = stated[f"anno/{case}/transformed"]["annotation_indices"]
    _, annotations = transformed(golden, case, indices)
    for k, annotation in enumerate(annotations):
        prefix = f"anno/{case}/transformed/{k}"
        np.testing.assert_allclose(annotation["bbox"], arrays[f"{prefix}/bbox"], atol=1e-10)
        assert annotation["bbox_mode"] == BoxMode.XYXY_ABS
        np.testing.assert_allclose(annotation["keypoints"], arrays[f"{prefix}/keypoints"])
        for p, polygon in enumerate(annotation["segmentation"]):
            np.testing.assert_allclose(polygon, arrays[f"{prefix}/poly{p}"], atol=1e-10)


@pytest.mark.shared
@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("case", list(TRANSFORMS))
def test_instances_are_detectron2s(golden, case, mask_format):
    arrays, stated = golden
    prefix = f"anno/{case}/instances_{mask_format}"
    size, annotations = transformed(golden, case, stated[prefix]["annotation_indices"])
    instances = annotations_to_instances(annotations, size, mask_format)
    expected = {
        "boxes": instances.gt_boxes.tensor,
        "classes": instances.gt_classes,
        "keypoints": instances.gt_keypoints.tensor,
        "nonempty_mask": instances.gt_masks.nonempty(),
    }
    if mask_format == "bitmask":
        expected["masks"] = instances.gt_masks.tensor.to(torch.uint8)
    else:
        expected["mask_areas"] = instances.gt_masks.area()
        expected["mask_bboxes"] = instances.gt_masks.get_bounding_boxes().tensor
    for name, value in expected.items():
        reference = torch.from_numpy(arrays[f"{prefix}/{name}"])
        if name == "masks":
            assert (value != reference).float().mean() < 1e-3
        else:
            assert value.dtype == reference.dtype
            torch.testing.assert_close(value, reference)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["hflip", "resize"])
def test_rotated_instances_are_detectron2s(golden, case):
    arrays, stated = golden
    transform = HFlipTransform(57) if case == "hflip" else ResizeTransform(42, 57, 84, 57)
    size = tuple(stated[f"anno_rotated/{case}"]["output_hw"])
    annotations = [
        {"bbox": box.tolist(), "bbox_mode": BoxMode.XYWHA_ABS, "category_id": k}
        for k, box in enumerate(arrays["inputs/rotated_boxes"])
    ]
    annotations = [transform_instance_annotations(a, transform, size) for a in annotations]
    instances = annotations_to_instances(annotations, size)
    np.testing.assert_allclose(
        instances.gt_boxes.tensor, arrays[f"anno_rotated/{case}/boxes"], rtol=1e-5, atol=1e-5
    )
    assert instances.gt_classes.tolist() == [0, 1, 2, 3]


def test_flipping_an_instance():
    annotation = {
        "bbox": [10, 10, 200, 300],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 1,
        "segmentation": [[10, 10, 100, 100, 100, 10]],
    }
    result = transform_instance_annotations(annotation, HFlipTransform(400), (400, 400))
    assert result["bbox"].tolist() == [200, 10, 390, 300]
    assert result["segmentation"][0].tolist() == [390, 10, 300, 100, 300, 10]
    assert annotation["bbox"] == [10, 10, 200, 300]
    assert annotation["segmentation"] == [[10, 10, 100, 100, 100, 10]]


def rle(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize("text", [False, True])
def test_run_length_masks_become_arrays(text):
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:3] = True
    code = rle(mask)
    if text:
        code["counts"] = code["counts"].decode()
    annotation = {"bbox": [2, 1, 1, 3], "bbox_mode": 1, "category_id": 0, "segmentation": code}
    result = transform_instance_annotations(annotation, HFlipTransform(8), (6, 8))
    np.testing.assert_array_equal(result["segmentation"], mask[:, ::-1])
    instances = annotations_to_instances([result], (6, 8), "bitmask")
    np.testing.assert_array_equal(instances.gt_masks.tensor[0], mask[:, ::-1])
    with pytest.raises(ValueError, match=r"mask_format='polygon' cannot hold.*use 'bitmask'"):
        annotations_to_instances([result], (6, 8), "polygon")


def test_untransformed_run_lengths_rasterise():
    mask = np.eye(5, dtype=bool)
    annotation = {"bbox": [0, 0, 5, 5], "bbox_mode": 0, "category_id": 0, "segmentation": rle(mask)}
    instances = annotations_to_instances([annotation], (5, 5), "bitmask")
    np.testing.assert_array_equal(instances.gt_masks.tensor[0], mask)


def box(numbers, mode=BoxMode.XYXY_ABS, **more):
    return {"bbox": numbers, "bbox_mode": mode, "category_id": 0, **more}


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (box([1, 2, float("nan"), 4]), r"has a number that is not finite; repair"),
        (box([1, 2, float("inf"), 4]), r"has a number that is not finite"),
        (box([5, 2, 1, 4]), r"\[5.0, 2.0, 1.0, 4.0\] \(XYXY_ABS\) has a negative width"),
        (box([5, 2, -1, 4], BoxMode.XYWH_ABS), "XYWH_ABS.*negative width or height; swap"),
        (box([5, 2, 3, -4, 0], BoxMode.XYWHA_ABS), "XYWHA_ABS.*negative width or height"),
        (box([1, 2, 3, 4], segmentation=[[1, 1, 2, 2]]), r"at least 3 points.*got 4 numbers"),
        (box([1, 2, 3, 4], segmentation=[[1, 1, 2, 2, 3, 3, 4]]), r"got 7 numbers"),
        (box([1, 2, 3, 4], segmentation=[[1, 1, 2, 2, 3, float("nan")]]), "not finite"),
        (box([1, 2, 3, 4], segmentation=rle(np.eye(4))), r"\(4, 4\) does not|size \(4, 4\)"),
        (box([1, 2, 3, 4], segmentation={"size": [9, 9]}), r"RLE mask of size \[9, 9\] does not"),
        (box([1, 2, 3, 4], segmentation="x"), "list of polygons or an RLE dict.*got str"),
    ],
)
def test_broken_annotations_are_refused_with_a_remedy(annotation, message):
    with pytest.raises(DataError, match=message):
        transform_instance_annotations(annotation, NoOpTransform(), (9, 9))


def test_a_box_outside_is_cut_to_nothing():
    result = transform_instance_annotations(box([20, 20, 30, 30]), NoOpTransform(), (9, 12))
    assert result["bbox"].tolist() == [12, 9, 12, 9]
    instances = annotations_to_instances([result], (9, 12))
    assert len(filter_empty_instances(instances)) == 0


def test_keypoints_at_the_border_stay_and_outside_vanish():
    flat = [0, 0, 2, 10, 8, 1, 10.01, 4, 2, 3, -0.01, 2, 5, 5, 0]
    points = transform_keypoint_annotations(flat, NoOpTransform(), (8, 10))
    assert points.tolist() == [[0, 0, 2], [10, 8, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_two_flips_keep_the_order_of_keypoints():
    flat = [1, 1, 2, 3, 3, 2]
    twice = TransformList([HFlipTransform(10), HFlipTransform(10)])
    points = transform_keypoint_annotations(flat, twice, (8, 10), [1, 0])
    assert points[:, 0].tolist() == [1, 3]
    once = transform_keypoint_annotations(flat, [HFlipTransform(10)], (8, 10), [1, 0])
    assert once[:, 0].tolist() == [7, 9]
    upside_down = transform_keypoint_annotations(flat, VFlipTransform(8), (8, 10))
    assert upside_down[:, 1].tolist() == [7, 5]


def test_a_flip_needs_to_know_which_keypoints_change_places():
    with pytest.raises(ValueError, match="keypoint_names and keypoint_flip_map"):
        transform_keypoint_annotations([1, 1, 2], HFlipTransform(10), (8, 10))
    with pytest.raises(ValueError, match="has 3 entries, the instance 1"):
        transform_keypoint_annotations([1, 1, 2], HFlipTransform(10), (8, 10), [0, 1, 2])


def test_no_annotations_are_no_instances():
    instances = annotations_to_instances([], (8, 10))
    assert len(instances) == 0
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.dtype == torch.int64
    assert len(filter_empty_instances(instances)) == 0


def test_masks_and_boxes_are_all_of_one_kind():
    with_mask = box([1, 1, 5, 5], segmentation=[[1, 1, 5, 1, 5, 5]])
    with pytest.raises(DataError, match=r"'segmentation' or none; missing at \[1\]"):
        annotations_to_instances([with_mask, box([1, 1, 5, 5])], (8, 8))
    with pytest.raises(DataError, match="rotated and axis-aligned"):
        annotations_to_instances(
            [box([1, 1, 5, 5]), box([1, 1, 5, 5, 0], BoxMode.XYWHA_ABS)], (8, 8)
        )
    with pytest.raises(ValueError, match="'polygon' or 'bitmask', got 'rle'"):
        annotations_to_instances([with_mask], (8, 8), "rle")


def test_filtering_looks_at_boxes_and_masks():
    annotations = [
        box([1, 1, 5, 5], segmentation=np.ones((8, 8))),
        box([1, 1, 1, 5], segmentation=np.ones((8, 8))),
        box([1, 1, 5, 5], segmentation=np.zeros((8, 8))),
    ]
    annotations = [a | {"segmentation": a["segmentation"].astype(bool)} for a in annotations]
    instances = annotations_to_instances(annotations, (8, 8), "bitmask")
    instances.index = torch.arange(3)
    assert filter_empty_instances(instances).index.tolist() == [0]
    assert filter_empty_instances(instances, by_mask=False).index.tolist() == [0, 2]
    assert filter_empty_instances(instances, by_box=False).index.tolist() == [0, 1]
    assert len(filter_empty_instances(instances, box_threshold=4.5)) == 0
    with pytest.raises(ValueError, match="needs by_box or by_mask"):
        filter_empty_instances(Instances((8, 8)), by_box=False, by_mask=False)
