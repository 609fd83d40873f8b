"""Rows D2-036 to D2-042: the standard data set dictionaries, both ways."""

import json

import numpy as np
import pytest

from okulo_core.data import Annotation, DatasetInfo, ImageRecord
from okulo_core.structures import BoxMode

POLYGON = [0.0, 0.0, 4.0, 0.0, 4.0, 3.5]


def annotation(**values):
    return {"bbox": [1.0, 2.0, 3.0, 4.0], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0} | values


@pytest.mark.parametrize(
    "instance",
    [
        annotation(iscrowd=0),
        annotation(iscrowd=0, bbox_mode=BoxMode.XYWH_ABS, segmentation=[POLYGON, POLYGON]),
        annotation(iscrowd=1, segmentation={"size": [8, 9], "counts": b"a3d0"}),
        annotation(iscrowd=1, segmentation={"size": [8, 9], "counts": "a3d0"}),
        annotation(iscrowd=0, keypoints=[0.5, 1.5, 2, 0.5, 0.5, 0]),
        annotation(iscrowd=0, bbox=[5.0, 5.0, 4.0, 2.0, 30.0], bbox_mode=BoxMode.XYWHA_ABS),
        annotation(iscrowd=0, area=7.5, id=12, attributes={"truncated": True}),
    ],
)
def test_an_instance_dictionary_survives_the_round_trip(instance):
    assert Annotation.from_dict(instance).to_dict() == instance


@pytest.mark.parametrize(
    "image",
    [
        {"height": 4, "width": 5, "annotations": []},
        {"annotations": [annotation(iscrowd=0), annotation(iscrowd=1)]},
        {"sem_seg_file_name": "a/b.png", "annotations": []},
        {
            "pan_seg_file_name": "a/b.png",
            "segments_info": [{"id": 3, "category_id": 1, "iscrowd": 0}],
            "annotations": [],
        },
        {"annotations": [], "not_exhaustive_category_ids": [4], "neg_category_ids": []},
    ],
)
@pytest.mark.parametrize("image_id", [17, "train/17"])
def test_an_image_dictionary_survives_the_round_trip(image, image_id):
    image = {"file_name": "a/b.jpg", "image_id": image_id} | image

    assert ImageRecord.from_dict(image).to_dict() == image


def test_precomputed_proposals_are_kept_for_the_mapper():
    proposals = np.zeros((2, 4))
    image = {"file_name": "a.jpg", "image_id": 1, "proposal_boxes": proposals}

    assert ImageRecord.from_dict(image).to_dict()["proposal_boxes"] is proposals


def test_crowd_defaults_to_no():
    assert Annotation.from_dict(annotation()).iscrowd == 0


def test_a_semantic_dictionary_without_image_id_is_known_by_its_file():
    record = ImageRecord.from_dict({"file_name": "a.jpg", "sem_seg_file_name": "a.png"})

    assert record.image_id == "a.jpg"


def test_what_is_missing_is_named_with_what_is_there():
    with pytest.raises(ValueError, match=r"lacks \['bbox_mode'\].*\['bbox', 'category_id'\]"):
        Annotation.from_dict({"bbox": [0, 0, 1, 1], "category_id": 0})


def test_a_mask_given_as_an_array_is_refused_with_a_remedy():
    with pytest.raises(TypeError, match="got ndarray; encode arrays with pycocotools"):
        Annotation.from_dict(annotation(segmentation=np.zeros((3, 3))))


def test_a_changed_dictionary_does_not_change_the_record():
    record = Annotation.from_dict(annotation(segmentation=[POLYGON]))
    record.to_dict()["segmentation"][0][0] = 100.0

    assert record.segmentation == (tuple(POLYGON),)


INFO = DatasetInfo(
    name="people",
    thing_classes=("person", "dog"),
    thing_colors=((1, 2, 3), (4, 5, 6)),
    thing_dataset_ids=(1, 18),
    stuff_classes=("sky",),
    keypoint_names=("nose", "left_eye", "right_eye"),
    keypoint_flip_map=(("left_eye", "right_eye"),),
    keypoint_connection_rules=(("nose", "left_eye", (0, 0, 255)),),
)


def test_info_survives_json():
    assert DatasetInfo.from_dict(json.loads(json.dumps(INFO.to_dict()))) == INFO


def test_flip_indices_exchange_the_pairs_and_keep_the_rest():
    assert INFO.keypoint_flip_indices == (0, 2, 1)


def test_an_unknown_field_is_named():
    with pytest.raises(ValueError, match=r"no field \['thing_clases'\]"):
        DatasetInfo.from_dict({"name": "x", "thing_clases": []})


def test_colors_must_match_the_classes():
    with pytest.raises(
        ValueError, match=r"thing_colors must be empty or .* 2 thing_classes, got 1"
    ):
        DatasetInfo(name="x", thing_classes=("a", "b"), thing_colors=((0, 0, 0),))


def test_a_flip_of_an_unknown_keypoint_is_refused():
    with pytest.raises(ValueError, match=r"keypoint_flip_map names keypoints \['tail'\]"):
        DatasetInfo(name="x", keypoint_names=("head",), keypoint_flip_map=(("head", "tail"),))
