"""Predictions in COCO's result form. Row D2-714."""

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from okulo_core.data import DatasetInfo
from okulo_core.data.coco_results import instances_to_coco_json, with_category_ids
from okulo_core.structures import Boxes, Instances, RotatedBoxes


def instances(n, **fields):
    table = Instances((20, 30))
    table.pred_boxes = Boxes(torch.tensor([[2.0, 3.0, 10.0, 15.0]] * n).reshape(n, 4))
    table.scores = torch.full((n,), 0.5)
    table.pred_classes = torch.arange(n)
    for name, value in fields.items():
        table.set(name, value)
    return table


def test_boxes_become_corner_and_size():
    rows = instances_to_coco_json(instances(2), "picture")
    assert rows == [
        {"image_id": "picture", "category_id": k, "bbox": [2.0, 3.0, 8.0, 12.0], "score": 0.5}
        for k in range(2)
    ]


@pytest.mark.parametrize("extra", [False, True])
def test_no_instances_give_no_rows(extra):
    fields = {
        "pred_masks": torch.zeros(0, 20, 30, dtype=torch.bool),
        "pred_keypoints": torch.zeros(0, 17, 3),
    }
    assert instances_to_coco_json(instances(0, **(fields if extra else {})), 1) == []


def test_masks_survive_as_run_lengths_in_text():
    masks = torch.rand(3, 20, 30) > 0.6
    rows = instances_to_coco_json(instances(3, pred_masks=masks), 1)
    for row, mask in zip(rows, masks, strict=True):
        assert isinstance(row["segmentation"]["counts"], str)
        assert row["segmentation"]["size"] == [20, 30]
        np.testing.assert_array_equal(rle.decode([row["segmentation"]])[..., 0], mask.numpy())


def test_keypoints_count_from_pixel_centres_and_the_input_stays():
    """detectron2 subtracts in place, so that converting twice shifts twice."""
    keypoints = torch.tensor([[[4.0, 6.0, 0.9], [1.5, 2.5, 0.1]]])
    table = instances(1, pred_keypoints=keypoints)
    for _ in range(2):
        (row,) = instances_to_coco_json(table, 1)
        assert row["keypoints"] == pytest.approx([3.5, 5.5, 0.9, 1.0, 2.0, 0.1])
    assert keypoints[0, 0, 0] == 4.0


def test_predictions_with_gradient_are_accepted():
    table = instances(1)
    table.scores = torch.tensor([0.5], requires_grad=True)
    table.pred_boxes.tensor.requires_grad_()
    assert instances_to_coco_json(table, 1)[0]["score"] == 0.5


def test_rotated_boxes_are_written_as_they_are():
    table = instances(1)
    table.remove("pred_boxes")
    table.pred_boxes = RotatedBoxes(torch.tensor([[4.0, 5.0, 6.0, 2.0, 30.0]]))
    assert instances_to_coco_json(table, 1)[0]["bbox"] == [4.0, 5.0, 6.0, 2.0, 30.0]


@pytest.mark.parametrize(
    ("classes", "own", "expected"),
    [(("a", "b"), (7, 9), [7, 9]), (("a", "b"), (), [1, 2]), ((), (), [0, 1])],
)
def test_labels_become_the_ids_of_the_data_set(classes, own, expected):
    info = DatasetInfo(name="pets", thing_classes=classes, thing_dataset_ids=own)
    rows = instances_to_coco_json(instances(2), 1)
    assert [row["category_id"] for row in with_category_ids(rows, info)] == expected
    assert [row["category_id"] for row in rows] == [0, 1]


def test_a_label_beyond_the_classes_is_refused():
    info = DatasetInfo(name="pets", thing_classes=("a", "b"))
    rows = instances_to_coco_json(instances(3), 5)
    with pytest.raises(ValueError, match=r"image 5 has label 2, expected 0\.\.1: 'pets' has 2"):
        with_category_ids(rows, info)
