"""Rows D2-037 and D2-165, the golden files of them, and what bad annotation files say."""

import json
import logging

import pytest
from pycocotools import mask as coco_mask

from okulo_coco import plugin
from okulo_coco.instances import CocoConfig
from okulo_core.data.coco_format import records_to_coco
from okulo_core.errors import DataError, MissingFileError
from okulo_core.structures import BoxMode
from okulo_core.testing import check_component, shared_path

SQUARE = [2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]


def image(id=1, **values):
    return {"id": id, "file_name": f"{id}.jpg", "height": 20, "width": 30} | values


def annotation(id=1, **values):
    return {"id": id, "image_id": 1, "category_id": 1, "bbox": [2, 2, 6, 6]} | values


def category(id=1, **values):
    return {"id": id, "name": f"class {id}"} | values


@pytest.fixture
def read(tmp_path):
    """Write an annotation file, and read it."""

    def read(annotations=(), images=None, categories=None, **config):
        data = {
            "images": [image()] if images is None else images,
            "annotations": list(annotations),
            "categories": [category()] if categories is None else categories,
        }
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(data))
        return CocoConfig(annotations=str(path), images="ROOT", **config).build()

    return read


@pytest.fixture
def only(read):
    """The one annotation of a file that has one."""

    def only(categories=None, **values):
        (found,) = read([annotation(**values)], categories=categories)[0].annotations
        return found

    return only


@pytest.mark.shared
@pytest.mark.parametrize(
    ("golden", "source"),
    [("coco", "coco/gt_instances.json"), ("keypoints", "coco_keypoints/gt.json")],
)
def test_records_equal_detectron2s(golden, source):
    expected = json.loads(
        shared_path(f"golden/detectron2/data/load_coco_{golden}.json").read_text()
    )
    path = shared_path(f"golden/detectron2/eval/{source}")
    dataset = CocoConfig(annotations=str(path), images="ROOT").build()

    assert list(dataset.info.thing_classes) == expected["thing_classes"]
    ids = {int(key): label for key, label in expected["thing_dataset_id_to_contiguous_id"].items()}
    assert {id: k for k, id in enumerate(dataset.info.thing_dataset_ids)} == ids
    assert [strip(dataset[i].to_dict()) for i in range(len(dataset))] == expected["dicts"]


def strip(record):
    """Without what detectron2 does not keep, and as JSON."""
    for instance in record["annotations"]:
        instance.pop("area")
        instance.pop("id")
    return json.loads(json.dumps(record, default=bytes.decode))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "file", "images", "annotations", "classes"),
    [
        ("bccd", "instances_train.json", 205, 2804, 3),
        ("coco-mini", "instances_val.json", 25, 213, 80),
        ("coco-mini", "person_keypoints_train.json", 26, 65, 1),
        ("nuclei", "instances_val.json", 60, 1737, 1),
        ("nuclei", "rotated_val.json", 60, 1737, 1),
        ("openfield-mouse", "keypoints_val.json", 29, 29, 1),
    ],
)
def test_real_files_are_read_whole_and_without_warnings(
    folder, file, images, annotations, classes, caplog
):
    path = shared_path(f"data/{folder}/annotations/{file}")
    dataset = CocoConfig(annotations=str(path), images=str(path.parents[1] / "images")).build()

    assert len(dataset) == images
    assert sum(len(record.annotations) for record in dataset.records) == annotations
    assert len(dataset.info.thing_classes) == classes
    assert not caplog.records


@pytest.mark.shared
@pytest.mark.parametrize("folder", ["coco-mini", "bccd", "nuclei"])
def test_a_real_file_survives_the_way_back(folder):
    path = shared_path(f"data/{folder}/annotations/instances_val.json")
    source = json.loads(path.read_text())
    coco = records_to_coco(CocoConfig(annotations=str(path), images="").build())

    key = lambda item: (item["image_id"], item["category_id"], item["bbox"])
    kept = ("image_id", "category_id", "iscrowd", "area")
    back, there = sorted(coco["annotations"], key=key), sorted(source["annotations"], key=key)
    assert [[a[k] for k in kept] for a in back] == [[a[k] for k in kept] for a in there]
    assert [a["bbox"] for a in back] == [[round(v, 3) for v in a["bbox"]] for a in there]
    polygons = lambda a: a["segmentation"] if isinstance(a.get("segmentation"), list) else []
    assert [polygons(a) for a in back] == [polygons(a) for a in there]


def test_the_component_keeps_its_contract(tmp_path, okulo_catalog):
    (tmp_path / "a.json").write_text(json.dumps({"images": [image()], "categories": [category()]}))
    okulo_catalog.register("okulo-coco", plugin)
    config = CocoConfig(annotations=str(tmp_path / "a.json"), images="ROOT")

    check_component(config, kind="dataset", catalog=okulo_catalog)


def test_images_come_in_the_order_of_their_ids_with_or_without_objects(read):
    dataset = read([annotation(image_id=3)], images=[image(7), image(3), image(5)])

    assert [record.image_id for record in dataset.records] == [3, 5, 7]
    assert [len(record.annotations) for record in dataset.records] == [1, 0, 0]
    assert dataset[0].file_name == "ROOT/3.jpg"
    assert (dataset[0].height, dataset[0].width) == (20, 30)


def test_a_file_of_test_images_needs_no_annotations(tmp_path):
    path = tmp_path / "image_info.json"
    path.write_text(json.dumps({"images": [image()], "categories": [category()]}))

    dataset = CocoConfig(annotations=str(path), images="").build()
    assert dataset.info.name == "image_info"
    assert dataset[0].annotations == ()


def test_ids_with_gaps_become_labels_in_the_order_of_ids_and_say_so(read, caplog):
    dataset = read(
        [annotation(category_id=90), annotation(2, category_id=7)],
        categories=[category(90), category(7), category(12)],
    )

    assert dataset.info.thing_classes == ("class 7", "class 12", "class 90")
    assert dataset.info.thing_dataset_ids == (7, 12, 90)
    assert [item.category_id for item in dataset[0].annotations] == [2, 0]
    assert "labels.json: the category ids [7, 12, 90] are not 1..3; labels are 0..2" in caplog.text


def test_crowd_regions_are_kept_as_run_length_codes(only):
    rle = {"size": [20, 30], "counts": [40, 5, 555]}  # uncompressed, as COCO's files hold it
    found = only(iscrowd=1, segmentation=rle)

    assert found.iscrowd == 1
    assert coco_mask.area(found.segmentation) == 5


def test_keypoints_move_from_pixel_indices_to_continuous_coordinates(only):
    names = category(keypoints=["left_ear", "right_ear"], skeleton=[[1, 2]])
    found = only(categories=[names], keypoints=[3, 4, 2, 0, 0, 0])

    assert found.keypoints == (3.5, 4.5, 2, 0.5, 0.5, 0)


def test_flips_follow_from_the_names(read):
    names = ["nose", "left_eye", "right_eye", "leftpaw", "rightpaw", "left_over"]
    info = read(categories=[category(keypoints=names, skeleton=[[1, 2], [2, 3]])]).info

    assert info.keypoint_flip_map == (("left_eye", "right_eye"), ("leftpaw", "rightpaw"))
    assert info.keypoint_flip_indices == (0, 2, 1, 4, 3, 5)
    assert [rule[:2] for rule in info.keypoint_connection_rules] == [
        ("nose", "left_eye"),
        ("left_eye", "right_eye"),
    ]


def test_a_wrong_number_of_keypoints_is_refused(only):
    with pytest.raises(DataError, match=r"annotation 1 of image 1 .* of 2 keypoints, got 3 num"):
        only(categories=[category(keypoints=["a", "b"])], keypoints=[1, 2, 2])


def test_different_keypoints_per_category_are_refused(read):
    with pytest.raises(DataError, match="'class 1' and 'class 2' have different keypoints"):
        read(categories=[category(1, keypoints=["a"]), category(2, keypoints=["b"])])


def test_five_numbers_are_a_rotated_box(only):
    found = only(bbox=[10, 10, 6, 4, 30])

    assert found.bbox_mode == BoxMode.XYWHA_ABS
    assert found.bbox == (10, 10, 6, 4, 30)


def test_extra_keys_are_kept_on_demand(read):
    items = [annotation(pose="left", score=1), annotation(2)]
    dataset = read(items, extra_annotation_keys=("pose",))

    assert [item.extra for item in dataset[0].annotations] == [{"pose": "left"}, {}]


@pytest.mark.parametrize(
    ("bbox", "fault"),
    [
        ([5, 5, -3, 4], "inverted"),
        ([5, 5, 3, -4], "inverted"),
        ([float("nan"), 5, 3, 4], "not finite"),
        ([5, 5, float("inf"), 4], "not finite"),
        ([5, None, 3, 4], "not finite"),
        ([5, 5, 3], "not a list of 4 numbers"),
        ([], "not a list of 4 numbers"),
    ],
)
def test_a_bad_box_is_refused_with_its_place(read, bbox, fault):
    items = [annotation(), annotation(7, bbox=bbox), annotation(8, bbox=bbox)]
    with pytest.raises(DataError) as error:
        read(items)

    message = str(error.value)
    assert (
        "labels.json: 2 annotations have a box that is missing, inverted or not finite" in message
    )
    assert "annotation 7 of image 1 (1.jpg)" in message
    assert fault in message
    assert "on_bad_box='drop'" in message


def test_a_missing_box_is_called_missing(read):
    item = annotation(7)
    del item["bbox"]
    with pytest.raises(DataError, match=r"annotation 7 of image 1 \(1.jpg\): 'bbox' is missing"):
        read([item])


def test_bad_boxes_are_dropped_on_demand_with_one_warning(read, caplog):
    items = [annotation(i, bbox=[5, 5, -3, 4]) for i in range(20)] + [annotation(20)]
    dataset = read(items, on_bad_box="drop")

    assert [item.id for item in dataset[0].annotations] == [20]
    assert len(caplog.records) == 1
    assert "20 annotations have a box" in caplog.text
    assert caplog.text.count("annotation ") == 5  # a few places, not all


def test_a_box_partly_outside_is_clipped_with_one_warning(read, caplog):
    items = [annotation(1, bbox=[-4, 5, 10, 8]), annotation(2, bbox=[25, 15, 10, 10])]
    dataset = read(items)

    assert [item.bbox for item in dataset[0].annotations] == [(0, 5, 6, 8), (25, 15, 5, 5)]
    assert len(caplog.records) == 1
    assert "labels.json: 2 annotations have a box that reaches outside the image" in caplog.text
    assert "annotation 2 of image 1 (1.jpg): [25, 15, 10, 10]" in caplog.text


def test_a_box_that_rounding_put_outside_stays_as_it_is(only, caplog):
    assert only(bbox=[-0.3, 5, 30.9, 8]).bbox == (-0.3, 5, 30.9, 8)
    assert not caplog.records


@pytest.mark.parametrize(
    "bbox",
    [
        *([-9, 5, 4, 4], [31, 5, 4, 4], [5, -9, 4, 4], [5, 21, 4, 4]),
        *([-10, 1, 10, 2], [30, 1, 10, 2], [1, -10, 2, 10], [1, 20, 2, 10]),  # touch the border
    ],
)
def test_a_box_wholly_outside_is_left_out_with_a_warning(read, bbox, caplog):
    dataset = read([annotation(4, bbox=bbox), annotation(5)])

    assert [item.id for item in dataset[0].annotations] == [5]
    assert "1 annotations have a box outside the image and are left out" in caplog.text
    assert "annotation 4 of image 1" in caplog.text


@pytest.mark.parametrize(
    "polygon",
    [[1, 1, 2, 2], [1, 1, 5, 1, 5, 5, 1], [1, 1, 5, 1, 5, float("nan")], [1, 1, 5, 1, 5, "5"], []],
)
def test_an_invalid_polygon_is_dropped_with_one_warning(read, polygon, caplog):
    items = [annotation(1, segmentation=[polygon, SQUARE]), annotation(2, segmentation=[polygon])]
    dataset = read([*items, annotation(3, segmentation=[SQUARE])])

    assert [item.id for item in dataset[0].annotations] == [1, 3]
    assert dataset[0].annotations[0].segmentation == (tuple(SQUARE),)
    assert len(caplog.records) == 1
    assert "2 annotations have mask polygons with fewer than 3 points" in caplog.text
    assert "annotation 2 of image 1 (1.jpg)" in caplog.text


def test_an_empty_mask_is_no_mask(only):
    assert only(segmentation=[]).segmentation is None


def test_a_mask_of_another_size_than_its_image_is_refused(only):
    with pytest.raises(
        DataError, match=r"labels.json: annotation 6 of image 1 .*\[3, 4\].*\[20, 30"
    ):
        only(id=6, segmentation={"size": [3, 4], "counts": [0, 12]})


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"size": [20, 30]}, r"its mask lacks \['counts'\]"),
        ({"counts": [600]}, r"its mask lacks \['size'\]"),
        ({"size": 5, "counts": [600]}, "height, width 5"),
        *(
            ({"size": [20, 30], "counts": counts}, "do not decode to 20 x 30 pixels")
            for counts in ([40, 5], [-1, 601], ["a", 600], [], 600, "X1", "X15Wo09", "oo", "é", "")
        ),
    ],
)
def test_a_mask_that_does_not_decode_is_refused(only, mask, message):
    with pytest.raises(DataError, match=rf"labels.json: annotation 6 of image 1 .*{message}"):
        only(id=6, segmentation=mask)


def test_compressed_masks_are_read_as_they_are(only):
    counts = [0, 3, 90, 2, 7, 5, 100, 1, 392]  # differences of both signs
    rle = coco_mask.frPyObjects({"size": [20, 30], "counts": counts}, 20, 30)
    found = only(segmentation={"size": [20, 30], "counts": rle["counts"].decode()})

    assert coco_mask.area(found.segmentation) == 11


def test_an_unknown_category_is_refused(only):
    with pytest.raises(DataError, match=r"annotation 6 of image 1 .* category id 9, .*\[1\]"):
        only(id=6, category_id=9)


def test_ids_of_annotations_are_unique(read):
    images = [image(1), image(2)]
    with pytest.raises(
        DataError, match="annotation id 4 occurs more than once, for images 1 and 2"
    ):
        read([annotation(4), annotation(4, image_id=2)], images=images)


def test_the_minival_files_may_repeat_ids(tmp_path):
    path = tmp_path / "instances_minival2014.json"
    items = [annotation(4), annotation(4)]
    path.write_text(
        json.dumps({"images": [image()], "annotations": items, "categories": [category()]})
    )

    assert len(CocoConfig(annotations=str(path), images="").build()[0].annotations) == 2


def test_ids_of_images_and_categories_are_unique(read):
    with pytest.raises(DataError, match=r"labels\.json: image: the id 1 occurs more than once"):
        read(images=[image(), image()])
    with pytest.raises(DataError, match=r"labels\.json: category: the id 1 occurs more than once"):
        read(categories=[category(), category()])


def test_annotations_of_unlisted_images_are_left_out_with_a_warning(read, caplog):
    read([annotation(3, image_id=99)])

    assert "1 annotations belong to images that the file does not list" in caplog.text
    assert "annotation 3 (image 99)" in caplog.text


def test_the_ignore_flag_is_refused(only):
    with pytest.raises(DataError, match=r"annotation 1 of image 1 .* has 'ignore' set"):
        only(ignore=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected json"),
        ("{", "cannot read .* as json"),
        ("[]", "expected a JSON object, got a list"),
        ("{}", r"has no 'images'; a COCO file has a list of them \(its keys are \[\]\)"),
        ('{"images": [], "categories": [{"id": 1}]}', "has no 'images'"),
        ('{"images": [{"id": 1}]}', "has no 'categories'"),
        ('{"images": null}', "'images' is not a list, but None"),
        ('{"images": [1], "categories": null}', "'categories' is not a list, but None"),
        ('{"images": [1], "categories": [1], "annotations": null}', "'annotations' is not a list"),
    ],
)
def test_an_empty_annotation_file_says_what_is_missing(tmp_path, content, message):
    (tmp_path / "labels.json").write_text(content)

    with pytest.raises(DataError, match=f"labels.json.*{message}|{message}"):
        CocoConfig(annotations=str(tmp_path / "labels.json"), images="").build()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=f"there is no file {tmp_path}/labels.json"):
        CocoConfig(annotations=str(tmp_path / "labels.json"), images="").build()


def test_an_image_without_its_size_is_refused(read):
    with pytest.raises(DataError, match=r"image number 0 lacks \['height', 'width'\]"):
        read(images=[{"id": 1, "file_name": "a.jpg"}])


@pytest.mark.parametrize("value", ["10", None])
def test_a_size_that_is_no_number_is_refused(read, value):
    with pytest.raises(
        DataError, match=rf"labels\.json: image 4: 'height' is not a number, but {value!r}"
    ):
        read([annotation(image_id=4)], images=[image(4, height=value)])


def test_ids_of_mixed_types_are_refused(read):
    with pytest.raises(DataError, match=r"labels\.json: category: .* mixed types, int and str"):
        read(categories=[category(1), category("2")])


def test_paths_may_be_relative_to_the_data_sets_folder(tmp_path, monkeypatch, read):
    read()
    monkeypatch.setenv("OKULO_DATASETS", str(tmp_path))
    dataset = CocoConfig(annotations="datasets://labels.json", images="datasets://photos").build()

    assert dataset[0].file_name == str(tmp_path / "photos" / "1.jpg")


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level(logging.WARNING)
