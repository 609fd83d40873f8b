"""Rows D2-039 and D2-168: panoptic files."""

import json

import numpy as np
import pytest

from okulo_coco.panoptic import CocoPanopticConfig
from okulo_core.errors import DataError, MissingFileError
from okulo_core.testing import shared_path

CATEGORIES = [
    {"id": 9, "name": "sky", "isthing": 0},
    {"id": 2, "name": "person", "isthing": 1},
]
SEGMENT = {"id": 300, "category_id": 9, "iscrowd": 0, "area": 5}


@pytest.fixture
def read(tmp_path):
    def read(segments=(SEGMENT,), images=None, annotations=None, categories=CATEGORIES):
        if images is None:
            images = [{"id": 1, "file_name": "1.png", "height": 4, "width": 5}]
        if annotations is None:
            annotations = [{"image_id": 1, "file_name": "1.png", "segments_info": list(segments)}]
        path = tmp_path / "panoptic.json"
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )
        return CocoPanopticConfig(
            annotations=str(path), images=str(tmp_path / "i"), panoptic=str(tmp_path / "p")
        ).build()

    for folder in ("i", "p"):
        (tmp_path / folder).mkdir()
        for name in ("1.png", "1.jpg"):
            (tmp_path / folder / name).touch()
    return read


def test_segments_carry_labels_and_what_they_are(read, tmp_path):
    dataset = read()

    assert dataset.info.thing_classes == dataset.info.stuff_classes == ("person", "sky")
    assert dataset.info.thing_dataset_ids == dataset.info.stuff_dataset_ids == (2, 9)
    assert dataset[0].segments_info == (SEGMENT | {"category_id": 1, "isthing": False},)
    assert dataset[0].file_name == str(tmp_path / "i" / "1.png")
    assert dataset[0].pan_seg_file_name == str(tmp_path / "p" / "1.png")
    assert (dataset[0].height, dataset[0].width) == (4, 5)
    assert dataset.info.ignore_label == 255


def test_photographs_are_jpeg_where_the_file_does_not_say(read, tmp_path):
    assert read(images=[{"id": 1}])[0].file_name == str(tmp_path / "i" / "1.jpg")


def test_an_unknown_category_is_refused(read):
    with pytest.raises(DataError, match=r"image 1: segment 300 has category id 4, .*\[2, 9\]"):
        read([SEGMENT | {"category_id": 4}])


def test_an_image_has_one_annotation_and_is_listed(read):
    item = {"image_id": 1, "file_name": "1.png", "segments_info": []}
    with pytest.raises(DataError, match="image 1 is annotated twice"):
        read(annotations=[item, item])
    with pytest.raises(DataError, match="image 8 is not among its images"):
        read(annotations=[item | {"image_id": 8}])


def test_a_wrong_folder_is_noticed_at_once(read, tmp_path):
    (tmp_path / "p" / "1.png").unlink()

    with pytest.raises(MissingFileError, match=r"p/1.png; check 'images' and 'panoptic'"):
        read()


def test_an_empty_file_says_what_is_missing(read):
    with pytest.raises(DataError, match="has no 'categories'"):
        read(categories=[])


@pytest.mark.shared
def test_every_pixel_of_a_real_image_belongs_to_a_segment():
    Image = pytest.importorskip("PIL.Image")
    root = shared_path("data/nuclei")
    dataset = CocoPanopticConfig(
        annotations=str(root / "annotations/panoptic_val.json"),
        images=str(root / "images"),
        panoptic=str(root / "panoptic_val"),
    ).build()
    record = dataset[0]
    with Image.open(record.pan_seg_file_name) as png:
        ids = np.asarray(png.convert("RGB")).astype(int) @ [1, 256, 65536]

    assert len(dataset) == 60
    assert dataset.info.thing_classes == ("nucleus", "background")
    assert ids.shape == (record.height, record.width)
    segments = {segment["id"]: segment for segment in record.segments_info}
    assert set(ids.ravel().tolist()) == set(segments)
    assert {segment["category_id"] for segment in segments.values() if segment["isthing"]} == {0}
