"""From record to sample: D2-150, D2-152, D2-155, and upstream defect D2-Q33 (one size given)."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from okulo_core.catalog import Catalog
from okulo_core.data import Annotation, DatasetInfo, ImageRecord
from okulo_core.errors import DataError
from okulo_core.structures import BitMasks, BoxMode, PolygonMasks, RotatedBoxes
from okulo_core.testing import check_component, shared_path
from okulo_transforms.flip import RandomFlipConfig
from okulo_transforms.mapper import DatasetMapper, DatasetMapperConfig, SizeMismatchError
from okulo_transforms.resize import ResizeShortestEdge, ResizeShortestEdgeConfig

INFO = DatasetInfo(
    name="test",
    thing_classes=("a", "b"),
    keypoint_names=("left", "right", "nose"),
    keypoint_flip_map=(("left", "right"),),
)
POLYGON = ((2.0, 1.0, 8.0, 1.0, 8.0, 7.0, 2.0, 7.0),)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def record(tmp_path):
    def make(*annotations, height=12, width=16, **more):
        path = tmp_path / "image.png"
        Image.fromarray(rng().integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
        return ImageRecord(
            file_name=str(path),
            image_id=7,
            height=height,
            width=width,
            annotations=annotations,
            **more,
        )

    return make


def annotation(**more):
    values = {"bbox": (2.0, 1.0, 6.0, 6.0), "bbox_mode": BoxMode.XYWH_ABS, "category_id": 1}
    return Annotation(**(values | more))


@pytest.mark.shared
@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("training", [True, False])
def test_samples_are_detectron2s(tmp_path, training, mask_format):
    folder = shared_path("golden/detectron2/data/transforms.npz").parent
    arrays = np.load(folder / "transforms.npz")
    stated = json.loads((folder / "transforms.json").read_text())
    case = f"mapper/{'train' if training else 'test'}_{mask_format}"
    settings = stated[case]
    items = stated["annotations"]["items"]
    chosen = [items[i] for i in settings["annotation_indices"]] + [items[0] | {"iscrowd": 1}]
    Image.fromarray(arrays["inputs/image_u8"]).save(tmp_path / "image.png")
    Image.fromarray(arrays["inputs/seg"]).save(tmp_path / "labels.png")
    record = ImageRecord.from_dict(
        {
            "file_name": str(tmp_path / "image.png"),
            "sem_seg_file_name": str(tmp_path / "labels.png"),
            "image_id": 3,
            "height": 42,
            "width": 57,
            "annotations": chosen,
        }
    )
    resize = ResizeShortestEdge([settings["min_size"]], settings["max_size"], "choice")
    sample = DatasetMapper(
        training=training,
        augmentations=[resize],
        image_format="BGR",
        use_instance_mask=True,
        instance_mask_format=mask_format,
    )(record, rng())

    assert sorted(sample) == settings["keys"]
    assert (sample["height"], sample["width"], sample["image_id"]) == (42, 57, 3)
    assert sample["image"].dtype == torch.uint8
    assert sample["image"].is_contiguous()
    expected = arrays[f"{case}/image_chw"].astype(int)
    np.testing.assert_allclose(sample["image"].numpy().astype(int), expected, atol=1)
    np.testing.assert_array_equal(sample["sem_seg"], arrays[f"{case}/sem_seg"])
    assert sample["sem_seg"].dtype == torch.int64
    if training:
        instances = sample["instances"]
        np.testing.assert_allclose(
            instances.gt_boxes.tensor, arrays[f"{case}/boxes"], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_array_equal(instances.gt_classes, arrays[f"{case}/classes"])
        if mask_format == "bitmask":
            assert (instances.gt_masks.tensor.numpy() != arrays[f"{case}/masks"]).mean() < 1e-3
        else:
            np.testing.assert_allclose(instances.gt_masks.area(), arrays[f"{case}/areas"])


def test_test_samples_carry_no_truth(record):
    sample = DatasetMapper(training=False)(record(annotation()), rng())
    assert sorted(sample) == ["file_name", "height", "image", "image_id", "width"]
    assert sample["image"].shape == (3, 12, 16)


def test_what_is_not_used_is_not_given(record):
    one = annotation(segmentation=POLYGON, keypoints=(1, 1, 2, 3, 3, 2, 4, 4, 2))
    instances = DatasetMapper(training=True)(record(one), rng())["instances"]
    assert sorted(instances.get_fields()) == ["gt_boxes", "gt_classes"]


def test_crowds_and_what_leaves_the_image_are_dropped(record):
    kept, crowd = annotation(category_id=0), annotation(iscrowd=1)
    outside = annotation(bbox=(30.0, 30.0, 4.0, 4.0))
    instances = DatasetMapper(training=True)(record(kept, crowd, outside), rng())["instances"]
    assert instances.gt_classes.tolist() == [0]


def test_images_without_objects_have_the_same_fields(record):
    keypoints = (1, 1, 2, 3, 3, 2, 4, 4, 2)
    full = annotation(segmentation=POLYGON, keypoints=keypoints)
    for mask_format, masks in (("polygon", PolygonMasks), ("bitmask", BitMasks)):
        config = DatasetMapperConfig(
            use_instance_mask=True, instance_mask_format=mask_format, use_keypoint=True
        )
        mapper = config.build(INFO, training=True)
        some = mapper(record(full), rng())["instances"]
        none = mapper(record(), rng())["instances"]
        assert len(none) == 0
        assert set(none.get_fields()) == set(some.get_fields())
        assert isinstance(none.gt_masks, masks)
        assert type(some).cat([none, none]).gt_keypoints.tensor.shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("option", "key"), [("use_instance_mask", "segmentation"), ("use_keypoint", "keypoints")]
)
def test_labels_in_use_must_be_there(record, option, key):
    one = record(annotation())
    with pytest.raises(DataError, match=rf"'{key}' is missing at \[0\].*{option}=True") as caught:
        DatasetMapper(training=True, **{option: True})(one, rng())
    assert one.file_name in str(caught.value)


def test_mirroring_carries_everything_along(record):
    keypoints = (3.0, 2.0, 2.0, 7.0, 2.0, 1.0, 5.0, 5.0, 2.0)
    config = DatasetMapperConfig(
        augmentations=(RandomFlipConfig(prob=1.0),),
        image_format="RGB",
        use_instance_mask=True,
        use_keypoint=True,
    )
    one = record(annotation(segmentation=POLYGON, keypoints=keypoints))
    sample = config.build(INFO, training=True)(one, rng())
    original = np.asarray(Image.open(one.file_name))
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), original[:, ::-1])
    instances = sample["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[8, 1, 14, 7]]
    assert instances.gt_masks.get_bounding_boxes().tensor.tolist() == [[8, 1, 14, 7]]
    # The point called "left" is again on the left of the one called "right".
    assert instances.gt_keypoints.tensor[0].tolist() == [[9, 2, 1], [13, 2, 2], [11, 5, 2]]


def test_boxes_can_follow_the_masks(record):
    wide = annotation(bbox=(0.0, 0.0, 16.0, 12.0), segmentation=POLYGON)
    mapper = DatasetMapper(training=True, use_instance_mask=True, recompute_boxes=True)
    assert mapper(record(wide), rng())["instances"].gt_boxes.tensor.tolist() == [[2, 1, 8, 7]]
    with pytest.raises(ValueError, match="recompute_boxes=True needs use_instance_mask=True"):
        DatasetMapper(training=True, recompute_boxes=True)


def test_rotated_boxes_stay_rotated(record):
    rotated = annotation(bbox=(8.0, 6.0, 6.0, 3.0, 30.0), bbox_mode=BoxMode.XYWHA_ABS)
    config = DatasetMapperConfig(augmentations=(RandomFlipConfig(prob=1.0),))
    boxes = config.build(INFO, training=True)(record(rotated), rng())["instances"].gt_boxes
    assert isinstance(boxes, RotatedBoxes)
    assert boxes.tensor.tolist() == [[8, 6, 6, 3, -30]]


@pytest.mark.parametrize("sizes", [{"height": 13}, {"width": 3, "height": None}, {"width": 15}])
def test_an_image_of_another_size_is_named_with_both_sizes(record, sizes):
    wrong = record(**sizes)
    with pytest.raises(SizeMismatchError, match=r"is 12 x 16 .* its record says") as caught:
        DatasetMapper(training=True)(wrong, rng())
    assert wrong.file_name in str(caught.value)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    "sizes", [{"height": None}, {"width": None}, {"height": None, "width": None}]
)
def test_unknown_sizes_are_filled_from_the_image(record, sizes):
    sample = DatasetMapper(training=True)(record(**sizes), rng())
    assert (sample["height"], sample["width"]) == (12, 16)


def test_labels_of_another_size_are_refused(record, tmp_path):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "labels.png")
    with pytest.raises(SizeMismatchError, match=r"labels\.png is 5 x 5.* 12 x 16"):
        DatasetMapper(training=True)(record(sem_seg_file_name=str(tmp_path / "labels.png")), rng())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"bbox": (1.0, 2.0, float("nan"), 4.0)}, "not finite"),
        ({"bbox": (1.0, 2.0, -3.0, 4.0)}, "negative width"),
        ({"bbox": (1.0, 2.0, 3.0)}, "4 numbers"),
        ({"segmentation": ((1.0, 1.0, 2.0, 2.0),)}, "at least 3 points"),
    ],
)
def test_a_broken_annotation_names_its_image(record, broken, message):
    one = record(annotation(**({"segmentation": POLYGON} | broken)))
    mapper = DatasetMapper(training=True, use_instance_mask=True)
    with pytest.raises(DataError, match=message) as caught:
        mapper(one, rng())
    assert one.file_name in str(caught.value)


def test_a_corrupt_image_is_named(record):
    one = record()
    with open(one.file_name, "r+b") as file:
        file.truncate(60)
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        DatasetMapper(training=True)(one, rng())
    assert one.file_name in str(caught.value)


def test_one_seed_one_sample(record):
    config = DatasetMapperConfig(
        augmentations=(
            ResizeShortestEdgeConfig(short_edge_length=(8, 24), sample_style="range"),
            RandomFlipConfig(),
        )
    )
    mapper = pickle.loads(pickle.dumps(config.build(INFO, training=True)))
    first, second = (mapper(record(annotation()), rng((3, 5))) for _ in range(2))
    assert torch.equal(first["image"], second["image"])
    assert first["instances"].gt_boxes.tensor.equal(second["instances"].gt_boxes.tensor)


def test_the_component_keeps_its_contract():
    config = DatasetMapperConfig(augmentations=(RandomFlipConfig(prob=0.25),), image_format="RGB")
    check_component(
        config,
        kind="mapper",
        catalog=Catalog.installed(),
        build_args=(INFO, True),
    )
