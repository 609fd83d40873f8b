"""Rows D2-173 and D2-Q20: records as a COCO file; the records stay as they are."""

import json

import pytest
from pycocotools import mask as coco_mask

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.data.coco_format import records_to_coco
from okulo_core.structures import BoxMode

INFO = DatasetInfo(
    name="shapes",
    thing_classes=("box", "star"),
    thing_dataset_ids=(3, 7),
    keypoint_names=("top", "bottom"),
    keypoint_connection_rules=(("top", "bottom", (0, 0, 0)),),
)


def convert(*annotations, info=INFO):
    record = ImageRecord(
        file_name="a.jpg", image_id=9, height=20, width=30, annotations=annotations
    )
    return records_to_coco(InMemoryDataset(info, [record]))


def only(**values):
    values = {"bbox": (1.0, 2.0, 5.0, 8.0), "category_id": 1} | values
    return convert(Annotation(**values))["annotations"][0]


def test_boxes_become_left_top_width_height():
    assert only()["bbox"] == [1.0, 2.0, 4.0, 6.0]


def test_rotated_boxes_keep_their_five_numbers():
    box = (5.12345, 5.0, 4.0, 2.0, 30.0)
    coco = only(bbox=box, bbox_mode=BoxMode.XYWHA_ABS)

    assert coco["bbox"] == [5.123, 5.0, 4.0, 2.0, 30.0]
    assert coco["area"] == 8.0


def test_labels_become_the_ids_of_the_source():
    assert only()["category_id"] == 7
    assert [category["id"] for category in convert()["categories"]] == [3, 7]


def test_without_source_ids_categories_count_from_one():
    coco = convert(
        Annotation(bbox=(0, 0, 1, 1), category_id=0),
        info=DatasetInfo(name="x", thing_classes=("a", "b")),
    )

    assert coco["annotations"][0]["category_id"] == 1
    assert [category["id"] for category in coco["categories"]] == [1, 2]


def test_annotation_ids_count_from_one_over_all_images():
    annotations = [Annotation(bbox=(0, 0, 1, 1), category_id=0, id=0)] * 3

    assert [item["id"] for item in convert(*annotations)["annotations"]] == [1, 2, 3]


def test_area_is_the_records_then_the_masks_then_the_boxes():
    triangle = [(0.0, 0.0, 4.0, 0.0, 0.0, 3.0)]

    assert only(area=5.5, segmentation=triangle)["area"] == 5.5
    assert only(segmentation=triangle)["area"] == pytest.approx(6.0)
    assert only()["area"] == 24.0


def test_a_run_length_code_becomes_text():
    rle = coco_mask.frPyObjects([[0, 0, 4, 0, 4, 4, 0, 4]], 20, 30)[0]
    coco = only(segmentation=rle, iscrowd=1)

    assert coco["segmentation"] == {"size": [20, 30], "counts": rle["counts"].decode()}
    assert coco["area"] == coco_mask.area(rle)
    assert coco["iscrowd"] == 1


def test_keypoints_become_pixel_indices_every_time():
    annotation = Annotation(bbox=(0, 0, 1, 1), category_id=0, keypoints=(3.5, 4.5, 2, 0.5, 0.5, 0))
    record = ImageRecord(file_name="a", image_id=1, annotations=[annotation])
    dataset = InMemoryDataset(INFO, [record])
    first, second = records_to_coco(dataset), records_to_coco(dataset)

    assert first["annotations"][0]["keypoints"] == [3, 4, 2, 0, 0, 0]
    assert first["annotations"][0]["num_keypoints"] == 1
    assert first == second


def test_the_skeleton_counts_keypoints_from_one():
    category = convert()["categories"][0]

    assert category["keypoints"] == ["top", "bottom"]
    assert category["skeleton"] == [[1, 2]]


def test_the_result_is_json_and_an_empty_image_stays():
    coco = json.loads(json.dumps(convert()))

    assert coco["images"] == [{"id": 9, "file_name": "a.jpg", "height": 20, "width": 30}]
    assert coco["annotations"] == []
