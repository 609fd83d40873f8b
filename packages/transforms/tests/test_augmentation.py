"""Random augmentations: D2-047 to D2-049, D2-053, D2-186, D2-201 to D2-203, D2-211, D2-217;
upstream defect D2-Q10 (integer images). Sizes and distributions are golden."""

import json

import numpy as np
import pytest

from okulo_core.catalog import Catalog
from okulo_core.testing import check_component, shared_path
from okulo_transforms.augmentation import AugInput, Augmentation, AugmentationList
from okulo_transforms.flip import HFlipTransform, RandomFlip, RandomFlipConfig, VFlipTransform
from okulo_transforms.resize import ResizeShortestEdge, ResizeShortestEdgeConfig, ResizeTransform
from okulo_transforms.transform import NoOpTransform, TransformList


def rng(seed=0):
    return np.random.default_rng(seed)


def image(height=42, width=57):
    return rng().integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def golden():
    folder = shared_path("golden/detectron2/data/transforms.npz").parent
    return np.load(folder / "transforms.npz"), json.loads((folder / "transforms.json").read_text())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "augmentation"),
    [
        ("flip_h_prob1", RandomFlip(1)),
        ("flip_v_prob1", RandomFlip(1, horizontal=False, vertical=True)),
        ("flip_prob0", RandomFlip(0)),
        ("shortest_edge", ResizeShortestEdge([60, 60], 75)),
        ("shortest_edge_zero", ResizeShortestEdge([0], sample_style="choice")),
    ],
)
def test_augmentations_are_detectron2s(golden, case, augmentation):
    arrays, stated = golden
    data = AugInput(
        arrays["inputs/image_u8"], boxes=arrays["inputs/boxes"], sem_seg=arrays["inputs/seg"]
    )
    transform = AugmentationList([augmentation])(data)
    assert repr(transform) == stated[f"aug/{case}"]["resulting"]
    expected = arrays[f"aug/{case}/image"].astype(int)
    np.testing.assert_allclose(data.image.astype(int), expected, atol=1)
    np.testing.assert_allclose(data.boxes, arrays[f"aug/{case}/boxes"])
    np.testing.assert_array_equal(data.sem_seg, arrays[f"aug/{case}/seg"])


@pytest.mark.shared
def test_output_sizes_are_detectron2s(golden):
    for height, width, length, max_size, *expected in golden[0]["resize_shortest_edge_table"]:
        shape = ResizeShortestEdge.get_output_shape(height, width, length, max_size)
        # The original gives images of no pixels for the thinnest; ours keep one.
        assert list(shape) == [max(1, side) for side in expected]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "augmentation"),
    [
        ("shortest_edge_range_40_60 (new_h,new_w)", ResizeShortestEdge([40, 60])),
        (
            "shortest_edge_choice_40_50_60 (new_h,new_w)",
            ResizeShortestEdge([40, 50, 60], sample_style="choice"),
        ),
    ],
)
def test_drawn_sizes_have_detectron2s_distribution(golden, case, augmentation):
    expected = golden[1][f"dist/{case}"]
    generator, picture = rng(1), np.zeros((100, 140, 3), np.uint8)
    drawn = [augmentation.get_transform(picture, generator) for _ in range(expected["n"])]
    sizes = np.array([(t.new_h, t.new_w) for t in drawn])
    assert sizes.min(axis=0).tolist() == expected["min"]
    assert sizes.max(axis=0).tolist() == expected["max"]
    assert [len(np.unique(column)) for column in sizes.T] == expected["distinct"]
    # Two samples of n draws: their means differ by sqrt(2 / n) standard deviations.
    error = 5 * np.array(expected["std"]) * np.sqrt(2 / expected["n"])
    assert (np.abs(sizes.mean(axis=0) - expected["mean"]) < error).all()


def test_flips_happen_with_their_probability():
    flip, generator = RandomFlip(0.3), rng(2)
    count = sum(
        isinstance(flip.get_transform(image(), generator), HFlipTransform) for _ in range(4000)
    )
    assert abs(count / 4000 - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((333, 999), (444, 1333)),
        ((427, 640), (800, 1199)),
        ((100, 100), (800, 800)),
    ],
)
def test_reference_sizes_for_800_and_1333(size, expected):
    assert ResizeShortestEdge.get_output_shape(*size, 800, 1333) == expected


def test_an_extremely_thin_image_keeps_a_pixel():
    assert ResizeShortestEdge.get_output_shape(2, 5000, 800, 1000) == (1, 1000)


def test_one_seed_one_result():
    policy = AugmentationList([ResizeShortestEdge([20, 60]), RandomFlip()])
    first, second = AugInput(image(), rng=rng(7)), AugInput(image(), rng=rng(7))
    assert repr(policy(first)) == repr(policy(second))
    np.testing.assert_array_equal(first.image, second.image)


def test_the_returned_transform_does_the_same_to_other_data():
    data = AugInput(image(), boxes=np.array([[1.0, 2.0, 30.0, 40.0]]), rng=rng(3))
    original = data.image, data.boxes
    transform = AugmentationList([ResizeShortestEdge(30), RandomFlip(1)])(data)
    np.testing.assert_array_equal(transform.apply_image(original[0]), data.image)
    np.testing.assert_array_equal(transform.apply_box(original[1]), data.boxes)
    assert sum(isinstance(t, HFlipTransform) for t in transform.transforms) == 1


def test_each_member_sees_the_result_of_the_former_and_transforms_may_be_members():
    data = AugInput(image(42, 57))
    transform = AugmentationList([ResizeTransform(42, 57, 21, 40), RandomFlip(1)])(data)
    assert transform.transforms == [ResizeTransform(42, 57, 21, 40), HFlipTransform(40)]
    assert data.image.shape == (21, 40, 3)


class ByName(Augmentation):
    def __init__(self):
        self.seen = {}

    def get_transform(self, boxes, image, rng):
        self.seen = {"boxes": boxes, "image": image, "rng": rng}
        return NoOpTransform()


def test_arguments_are_chosen_by_name():
    policy, generator = ByName(), rng()
    data = AugInput(image(), boxes=np.ones((2, 4)), rng=generator)
    policy(data)
    assert policy.seen["boxes"].shape == (2, 4)
    assert policy.seen["image"] is data.image
    assert policy.seen["rng"] is generator


def test_a_single_argument_of_any_name_is_the_image():
    class Anything(Augmentation):
        def get_transform(self, picture, rng):
            return VFlipTransform(picture.shape[0])

    assert Anything()(AugInput(image())) == VFlipTransform(42)


def test_a_missing_attribute_names_policy_attribute_and_input():
    class Depth(Augmentation):
        def get_transform(self, image, depth):
            return NoOpTransform()

    with pytest.raises(AttributeError, match=r"Depth.get_transform asks for 'depth'.*AugInput"):
        Depth()(AugInput(image()))


def test_open_argument_lists_are_refused():
    class Open(Augmentation):
        def get_transform(self, *args):
            return NoOpTransform()

    with pytest.raises(TypeError, match=r"\*args or \*\*kwargs"):
        Open()(AugInput(image()))


def test_a_policy_must_return_a_transform():
    class Wrong(Augmentation):
        def get_transform(self, image):
            return image

    with pytest.raises(TypeError, match="must return a Transform, got ndarray"):
        Wrong()(AugInput(image()))
    with pytest.raises(TypeError, match="takes augmentations and transforms, got str"):
        AugmentationList(["flip"])


def test_any_object_with_the_attributes_can_be_the_input():
    class Pair:
        def __init__(self):
            self.image, self.rng, self.depth = image(), rng(), image()[:, :, 0]

        def transform(self, tfm):
            self.image, self.depth = tfm.apply_image(self.image), tfm.apply_image(self.depth)

    pair = Pair()
    RandomFlip(1)(pair)
    np.testing.assert_array_equal(pair.depth, image()[:, ::-1, 0])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, bool])
def test_integer_images_other_than_bytes_are_refused(dtype):
    with pytest.raises(TypeError, match="must be uint8 or floating point, got"):
        AugInput(np.zeros((4, 4), dtype))


def test_what_is_no_image_is_refused():
    with pytest.raises(TypeError, match="numpy array, got list"):
        AugInput([[1]])
    with pytest.raises(ValueError, match=r"\(H, W\) or \(H, W, C\), got \(2,\)"):
        AugInput(np.zeros(2, np.uint8))


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, True), (False, False)])
def test_a_flip_has_one_direction(horizontal, vertical):
    with pytest.raises(ValueError, match="exactly one of horizontal and vertical"):
        RandomFlip(horizontal=horizontal, vertical=vertical)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"prob must be in \[0, 1\], got 2"):
        RandomFlip(2)
    with pytest.raises(ValueError, match=r"must be \[min, max\].*got \[1, 2, 3\]"):
        ResizeShortestEdge([1, 2, 3])
    with pytest.raises(ValueError, match="'range' or 'choice', got 'any'"):
        ResizeShortestEdge(1, sample_style="any")
    with pytest.raises(ValueError, match="at least one length"):
        ResizeShortestEdge([], sample_style="choice")


def test_representations_leave_out_defaults():
    half = float("0.5")  # equal to the default, and yet stated
    assert repr(RandomFlip()) == "RandomFlip()"
    assert repr(RandomFlip(prob=half)) == "RandomFlip(prob=0.5)"
    assert repr(AugmentationList([RandomFlip()])) == "AugmentationList[RandomFlip()]"
    assert repr(ResizeShortestEdge([1, 2])) == "ResizeShortestEdge(short_edge_length=[1, 2])"


def test_an_empty_list_changes_nothing():
    data = AugInput(image())
    transform = AugmentationList([])(data)
    assert isinstance(transform, TransformList)
    assert len(transform) == 0
    np.testing.assert_array_equal(data.image, image())


@pytest.mark.parametrize(
    "config",
    [RandomFlipConfig(prob=0.25), ResizeShortestEdgeConfig(short_edge_length=(32, 64))],
    ids=lambda config: type(config).__name__,
)
def test_the_components_keep_their_contract(config):
    check_component(config, kind="augmentation", catalog=Catalog.installed())


def test_the_default_config_is_detectron2s():
    policy = ResizeShortestEdgeConfig().build()
    assert policy.get_transform(np.zeros((480, 640, 3), np.uint8), rng()) == ResizeTransform(
        480, 640, 800, 1067, policy.interp
    )
