"""Deterministic transforms: D2-180 to D2-187, D2-192 to D2-194, D2-197, FV-119, FV-121 to FV-125;
upstream defects D2-Q03 (label dtypes), D2-Q08 (integer coordinates), D2-Q09 (changed arguments).

Numbers of the originals come from golden data; the oracle of the property tests is the picture: a
point and the pixel painted at it must arrive together.
"""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from okulo_core.testing import shared_path
from okulo_transforms.flip import HFlipTransform, VFlipTransform
from okulo_transforms.resize import ResizeTransform
from okulo_transforms.transform import NoOpTransform, Transform, TransformList

INTERP = {"nearest": 0, "bilinear": 2, "bicubic": 3}
CASES = [
    "noop",
    "hflip",
    "vflip",
    "resize_up_bil",
    "resize_down_bil",
    "resize_near",
    "resize_bic",
    "resize_same",
]


@pytest.fixture(scope="module")
def golden():
    folder = shared_path("golden/detectron2/data/transforms.npz").parent
    arrays = np.load(folder / "transforms.npz")
    return arrays, json.loads((folder / "transforms.json").read_text())


def build(name, settings):
    if name == "noop":
        return NoOpTransform()
    if name == "hflip":
        return HFlipTransform(settings["width"])
    if name == "vflip":
        return VFlipTransform(settings["height"])
    sizes = (settings[key] for key in ("h", "w", "new_h", "new_w"))
    return ResizeTransform(*sizes, INTERP[settings["interp"]])


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_images_and_labels_are_detectron2s(golden, case):
    arrays, settings = golden
    transform = build(case, settings[case])
    for kind in ("image_u8", "image_f32", "gray_u8"):
        result = transform.apply_image(arrays[f"inputs/{kind}"])
        expected = arrays[f"{case}/{kind}"]
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
        tolerance = 1 if result.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(result.astype(float), expected.astype(float), atol=tolerance)
    labels = transform.apply_segmentation(arrays["inputs/seg"])
    np.testing.assert_array_equal(labels, arrays[f"{case}/seg"])


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_coordinates_boxes_and_polygons_are_detectron2s(golden, case):
    arrays, settings = golden
    transform = build(case, settings[case])
    polygons = [arrays["inputs/polygon0"], arrays["inputs/polygon1"]]
    results = {
        "coords": transform.apply_coords(arrays["inputs/coords"]),
        "boxes": transform.apply_box(arrays["inputs/boxes"]),
        "polygon0": transform.apply_polygons(polygons)[0],
        "polygon1": transform.apply_polygons(polygons)[1],
        "inverse_of_coords": transform.inverse().apply_coords(arrays[f"{case}/coords"]),
    }
    if f"{case}/rotated_boxes" in arrays:
        results["rotated_boxes"] = transform.apply_rotated_box(arrays["inputs/rotated_boxes"])
    for kind, result in results.items():
        np.testing.assert_allclose(result, arrays[f"{case}/{kind}"], rtol=1e-10, atol=1e-10)


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_the_inverse_of_an_image_is_detectron2s(golden, case):
    arrays, settings = golden
    inverse = build(case, settings[case]).inverse()
    result = inverse.apply_image(arrays[f"{case}/image_u8"]).astype(int)
    np.testing.assert_allclose(result, arrays[f"{case}/inverse_image_u8"].astype(int), atol=1)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["hflip", "vflip", "noop"])
def test_flips_are_fvcores(case):
    folder = shared_path("golden/fvcore/transforms.npz").parent
    arrays = np.load(folder / "transforms.npz")
    stated = {c["name"]: c for c in json.loads((folder / "transforms.json").read_text())["cases"]}
    transform = {"hflip": HFlipTransform(10), "vflip": VFlipTransform(12), "noop": NoOpTransform()}[
        case
    ]
    image = arrays["image_u8"]
    results = {
        "image_u8": transform.apply_image(image),
        "image_float": transform.apply_image(image.astype(np.float32) / 255),
        "image_gray": transform.apply_image(arrays["image_gray"]),
        "segmentation": transform.apply_segmentation(arrays["segmentation"]),
        "segmentation_int64": transform.apply_segmentation(arrays["segmentation"].astype(np.int64)),
        "coords": transform.apply_coords(arrays["coords"]),
        "boxes": transform.apply_box(arrays["boxes"]),
        "poly0": transform.apply_polygons([arrays["poly0"]])[0],
    }
    for kind, result in results.items():
        np.testing.assert_array_equal(result, arrays[f"{case}.{kind}"])
        assert result.dtype == arrays[f"{case}.{kind}"].dtype
    assert repr(transform) == stated[case]["repr"]


sizes = st.integers(1, 24)
flips = st.builds(lambda h, w, v: (h, w, VFlipTransform(h) if v else HFlipTransform(w)),
                  sizes, sizes, st.booleans())  # fmt: skip


@settings(deadline=None)
@given(flips, st.data())
def test_a_painted_pixel_and_its_centre_arrive_together_in_a_flip(flip, data):
    height, width, transform = flip
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    image = np.zeros((height, width, 3), np.uint8)
    image[row, column] = 255
    (x, y), *_ = transform.apply_coords(np.array([[column + 0.5, row + 0.5]]))
    assert transform.apply_image(image)[int(y), int(x), 0] == 255
    assert transform.apply_segmentation(image[..., 0])[int(y), int(x)] == 255


@settings(deadline=None)
@given(st.integers(6, 20), st.integers(6, 20), st.integers(6, 40), st.integers(6, 40))
def test_a_ramp_stays_the_ramp_of_the_moved_coordinates(height, width, new_height, new_width):
    transform = ResizeTransform(height, width, new_height, new_width)
    ramp = lambda x, y: 3.0 * x - 2.0 * y + 1.0
    y, x = np.mgrid[:height, :width] + 0.5
    resized = transform.apply_image(ramp(x, y))
    new_y, new_x = np.mgrid[:new_height, :new_width] + 0.5
    centres = np.stack([new_x.ravel(), new_y.ravel()], axis=1)
    old = transform.inverse().apply_coords(centres)
    # Where all four neighbours exist, bilinear interpolation of a linear function is exact.
    inside = ((old >= 0.5) & (old <= (width - 0.5, height - 0.5))).all(axis=1)
    expected = ramp(old[:, 0], old[:, 1])
    np.testing.assert_allclose(resized.ravel()[inside], expected[inside], atol=1e-9)


@settings(deadline=None)
@given(sizes, sizes, sizes, sizes, st.integers(0, 2**32 - 1))
def test_labels_resize_to_the_pixel_below_each_centre(height, width, new_height, new_width, seed):
    labels = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    expected = Image.fromarray(labels).resize((new_width, new_height), Image.Resampling.NEAREST)
    transform = ResizeTransform(height, width, new_height, new_width)
    # A centre on the border of two pixels belongs to either; Pillow's rounding decides for it.
    on_border = lambda old, new: (2 * np.arange(new) + 1) * old % (2 * new) == 0
    clear = ~(on_border(height, new_height)[:, None] | on_border(width, new_width))
    for dtype in (bool, np.uint8, np.int32, np.int64):
        result = transform.apply_segmentation(labels.astype(dtype))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result[clear], np.asarray(expected).astype(dtype)[clear])


points = st.lists(
    st.tuples(st.floats(-50, 80), st.floats(-50, 80)), max_size=6
).map(lambda p: np.array(p).reshape(-1, 2))  # fmt: skip
transforms = st.one_of(
    flips.map(lambda f: f[2]),
    st.builds(ResizeTransform, sizes, sizes, sizes, sizes),
    st.just(NoOpTransform()),
)


@settings(deadline=None)
@given(st.lists(transforms, max_size=4), points)
def test_the_inverse_of_a_list_brings_points_back(members, coords):
    transform = TransformList(members)
    back = transform.inverse().apply_coords(transform.apply_coords(coords))
    np.testing.assert_allclose(back, coords, rtol=1e-9, atol=1e-6)


@settings(deadline=None)
@given(st.lists(transforms, max_size=4), points)
def test_boxes_are_the_hull_of_their_moved_corners(members, coords):
    transform = TransformList(members)
    for x, y in coords:
        box = np.array([[min(x, y), min(x, y), max(x, y), max(x, y)]])
        corners = transform.apply_coords(box[0, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(4, 2))
        hull = [*corners.min(axis=0), *corners.max(axis=0)]
        np.testing.assert_allclose(transform.apply_box(box)[0], hull)


@settings(max_examples=30, deadline=None)
@given(st.floats(-180, 180), st.floats(1, 20), st.floats(1, 20))
def test_a_mirrored_rotated_box_has_the_mirrored_corners(angle, w, h):
    def corners(box):
        cx, cy, w, h, degrees = box
        theta = np.deg2rad(degrees)
        local = np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) / 2
        turn = np.array([(np.cos(theta), -np.sin(theta)), (np.sin(theta), np.cos(theta))])
        found = local @ turn + (cx, cy)
        return found[np.lexsort(found.round(6).T)]

    box = np.array([[12.0, 9.0, w, h, angle]])
    for flip in (HFlipTransform(30), VFlipTransform(22)):
        mirrored = flip.apply_coords(corners(box[0]))
        mirrored = mirrored[np.lexsort(mirrored.round(6).T)]
        np.testing.assert_allclose(corners(flip.apply_rotated_box(box)[0]), mirrored, atol=1e-4)


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        (0, [600, 200, 160, 40, 0]),
        (30, [600, 200, 144.22205102, 52.91502622, 49.10660535]),
        (90, [600, 200, 80, 80, 90]),
        (-90, [600, 200, 80, 80, -90]),
    ],
)
def test_unequal_resize_of_a_rotated_box(angle, expected):
    box = np.array([[150.0, 100.0, 40.0, 20.0, angle]])
    moved = ResizeTransform(400, 200, 800, 800).apply_rotated_box(box)
    np.testing.assert_allclose(moved, [expected], atol=1e-6)


@pytest.mark.parametrize(
    "transform", [HFlipTransform(7), VFlipTransform(5), ResizeTransform(5, 7, 10, 14)], ids=repr
)
def test_arguments_are_not_changed_and_integers_become_floats(transform):
    coords = np.array([[1, 2], [3, 4]])
    before = coords.copy()
    moved = transform.apply_coords(coords)
    np.testing.assert_array_equal(coords, before)
    assert moved.dtype == np.float64
    assert transform.apply_coords(coords.astype(np.float32)).dtype == np.float32
    rotated = np.array([[1.0, 2, 3, 4, 5]])
    transform.apply_rotated_box(rotated)
    np.testing.assert_array_equal(rotated, [[1, 2, 3, 4, 5]])


@pytest.mark.parametrize(
    "transform",
    [HFlipTransform(7), VFlipTransform(5), ResizeTransform(5, 7, 3, 9), NoOpTransform()],
    ids=repr,
)
def test_nothing_is_an_ordinary_number_of_things(transform):
    transform = TransformList([transform])
    assert transform.apply_coords(np.zeros((0, 2))).shape == (0, 2)
    assert transform.apply_box(np.zeros((0, 4))).shape == (0, 4)
    assert transform.apply_rotated_box(np.zeros((0, 5))).shape == (0, 5)
    assert transform.apply_polygons([]) == []


@pytest.mark.parametrize("flip", [HFlipTransform(7), VFlipTransform(5)], ids=repr)
def test_flips_take_batches_and_planes(flip):
    images = np.random.default_rng(0).random((2, 5, 7, 3))
    flipped = flip.apply_image(images)
    np.testing.assert_array_equal(flipped[1], flip.apply_image(images[1]))
    np.testing.assert_array_equal(flipped[1, ..., 0], flip.apply_image(images[1, ..., 0]))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_resize_treats_all_channels_alike(channels):
    # Pillow alone would take a fourth channel for alpha and weigh the others with it.
    image = np.random.default_rng(0).integers(0, 256, (6, 8, channels), dtype=np.uint8)
    resized = ResizeTransform(6, 8, 9, 5).apply_image(image)
    assert resized.shape == (9, 5, channels)
    for c in range(channels):
        plane = ResizeTransform(6, 8, 9, 5).apply_image(np.ascontiguousarray(image[:, :, c]))
        np.testing.assert_array_equal(resized[:, :, c], plane)


def test_shrinking_averages_bytes_but_not_floats():
    ramp = np.arange(24, dtype=np.uint8).reshape(4, 6)
    transform = ResizeTransform(4, 6, 2, 3)
    np.testing.assert_array_equal(transform.apply_image(ramp), [[5, 7, 8], [15, 17, 18]])
    np.testing.assert_allclose(
        transform.apply_image(ramp.astype(np.float32)), [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    )


def test_resize_refuses_what_it_was_not_made_for():
    transform = ResizeTransform(4, 6, 2, 3)
    with pytest.raises(ValueError, match=r"takes images of shape \(4, 6\).*got \(6, 4\)"):
        transform.apply_image(np.zeros((6, 4)))
    with pytest.raises(TypeError, match=r"uint8 or floating point.*use apply_segmentation"):
        transform.apply_image(np.zeros((4, 6), np.int32))
    with pytest.raises(ValueError, match="convert the image to uint8"):
        ResizeTransform(4, 6, 2, 3, interp=1).apply_image(np.zeros((4, 6)))


def test_lists_are_flat_and_add_up():
    a, b, c = HFlipTransform(3), VFlipTransform(4), NoOpTransform()
    nested = TransformList([a, TransformList([b, TransformList([c])])])
    assert nested.transforms == [a, b, c]
    assert (nested + a).transforms == [a, b, c, a]
    assert (a + TransformList([b])).transforms == [a, b]
    summed = TransformList([a])
    summed += b
    assert summed.transforms == [a, b]
    assert len(nested) == 3
    assert nested[1] is b
    assert nested.inverse().transforms == [c, b, a]


def test_a_list_takes_transforms_only():
    with pytest.raises(TypeError, match="Transform objects, got int"):
        TransformList([3])


class Shift(Transform):
    """A user's transform that knows points alone."""

    def __init__(self, by):
        self._offset = by

    def apply_image(self, img):
        return img

    def apply_coords(self, coords):
        return coords + self._offset


def test_a_member_without_a_type_fails_when_called():
    transform = TransformList([HFlipTransform(3), Shift(1)])
    with pytest.raises(AttributeError, match="apply_rotated_box"):
        transform.apply_rotated_box(np.zeros((1, 5)))
    with pytest.raises(AttributeError, match="no attribute 'rotate'"):
        _ = transform.rotate


def test_a_transform_without_inverse_says_so():
    with pytest.raises(NotImplementedError, match="Shift cannot be undone"):
        Shift(1).inverse()


def test_an_incomplete_transform_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        Transform()


def test_a_noop_returns_what_it_gets():
    thing = object()
    assert NoOpTransform().apply_anything(thing) is thing
    with pytest.raises(AttributeError, match="'other'"):
        _ = NoOpTransform().other


def test_representations():
    assert repr(HFlipTransform(width=3)) == "HFlipTransform(width=3)"
    assert repr(TransformList([HFlipTransform(3)])) == "TransformList[HFlipTransform(width=3)]"
    assert repr(ResizeTransform(1, 2, 3, 4)) == "ResizeTransform(h=1, w=2, new_h=3, new_w=4)"
    assert repr(Shift(1)).startswith("<")  # does not keep its argument under its name


def test_transforms_are_picklable():
    transform = TransformList([HFlipTransform(3), NoOpTransform(), ResizeTransform(1, 2, 3, 4)])
    assert pickle.loads(pickle.dumps(transform)).transforms == transform.transforms
