"""Primitives of drawing, checked pixel by pixel; label places, checked for overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okulo_evaluation.drawing.colors import contrast_color, distinct_color
from okulo_evaluation.drawing.shapes import (
    blend_mask,
    draw_box,
    draw_keypoints,
    draw_rotated_box,
    outline_mask,
    rotated_corners,
)
from okulo_evaluation.drawing.text import Label, TextStyle, draw_labels, draw_text_box

RED = (255, 0, 0)


def blank(height=80, width=100):
    return np.full((height, width, 3), 100, np.uint8)


def near(pixel, color):
    """OpenCV's smoothed lines miss their colour by a few percent, also in the middle."""
    return bool(np.abs(np.subtract(pixel, color, dtype=int)).max() <= 20)


def touched(image):
    """(x0, y0, x1, y1) of the pixels that are not as in :func:`blank`; None without any."""
    ys, xs = np.nonzero((image != 100).any(axis=2))
    return (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else None


def test_a_box_is_drawn_along_its_edges():
    image = blank()
    draw_box(image, (20.5, 10.5, 60.5, 50.5), RED, 1)
    assert touched(image) == (20, 10, 60, 50)
    for y, x in [(10, 40), (50, 40), (30, 20), (30, 60)]:
        assert tuple(image[y, x]) == RED
    assert tuple(image[30, 40]) == (100, 100, 100)


@pytest.mark.parametrize("thickness", [1, 2, 3, 6])
def test_thickness_is_in_pixels(thickness):
    image = blank()
    draw_box(image, (20.5, 10.5, 60.5, 50.5), RED, thickness)
    assert (image[30] == RED).all(axis=1).sum() == 2 * thickness
    assert (image[:, 40] == RED).all(axis=1).sum() == 2 * thickness


@pytest.mark.parametrize(
    "box", [(-50, -40, 30, 30), (500, 500, 900, 900), (5, 5, 5, 5), (-1e9, 0, 1e9, 1e9)]
)
def test_boxes_may_leave_the_image(box):
    image = blank()
    draw_box(image, box, RED, 2)
    draw_rotated_box(image, (*box, 30.0), RED, 2)
    assert image.shape == blank().shape


@pytest.mark.parametrize(
    ("degrees", "top_left", "top_right"),
    [
        (0, (30, 40), (70, 40)),
        (90, (40, 70), (40, 30)),
        (-90, (60, 30), (60, 70)),
        (180, (70, 60), (30, 60)),
    ],
)
def test_angles_turn_counter_clockwise_on_the_screen(degrees, top_left, top_right):
    corners = rotated_corners((50, 50, 40, 20, degrees))
    np.testing.assert_allclose(corners[:2], [top_left, top_right], atol=1e-9)


def test_a_rotated_box_without_angle_is_the_box_with_a_thick_top():
    image = blank()
    draw_rotated_box(image, (40.5, 30.5, 40, 40, 0), RED, 1)
    assert near(image[50, 40], RED)
    assert near(image[30, 20], RED)
    above, below = image[:30, 40, 0], image[31:, 40, 0]
    assert (above > 150).sum() > (below > 150).sum()


def test_a_mask_is_blended_inside_and_nothing_else_changes():
    image, mask = blank(), np.zeros((80, 100), bool)
    mask[10:20, 30:50] = True
    mask[12, 33] = False
    blend_mask(image, mask, (200, 100, 0), 0.25)
    expected = blank()
    expected[mask] = (125, 100, 75)
    np.testing.assert_array_equal(image, expected)


def test_an_outline_follows_the_border_and_holes():
    image, mask = blank(), np.zeros((80, 100), bool)
    mask[10:40, 20:60] = True
    mask[20:30, 35:45] = False
    outline_mask(image, mask, RED, 1)
    assert near(image[10, 40], RED)
    assert tuple(image[15, 40]) == (100, 100, 100)
    assert near(image[19, 40], RED)  # the last pixel above the hole


def test_an_empty_mask_draws_nothing():
    image, mask = blank(), np.zeros((80, 100), bool)
    blend_mask(image, mask, RED, 0.5)
    outline_mask(image, mask, RED, 2)
    assert touched(image) is None


def test_limbs_need_both_ends():
    points = np.array([[20.5, 40.5], [80.5, 40.5], [50.5, 10.5]])
    limbs = [(0, 1, RED), (1, 2, RED)]
    image = blank()
    draw_keypoints(image, points, np.array([True, True, False]), limbs, [(0, 0, 255)] * 3, 1)
    assert near(image[40, 50], RED)
    assert near(image[40, 20], (0, 0, 255))
    assert (image[:30] == 100).all()


def test_text_has_contrast_on_its_own_box():
    for color in [RED, (255, 255, 0), (0, 0, 90), (255, 255, 255), (0, 0, 0)]:
        image = blank()
        draw_text_box(image, "Wpx", (10, 10), color, TextStyle(20))
        x0, y0, x1, y1 = touched(image)
        assert (x0, y0) == (10, 10)
        assert (x1 - 9, y1 - 9) == TextStyle(20).box_size("Wpx")
        ink = np.array(contrast_color(color))
        inside = image[y0 : y1 + 1, x0 : x1 + 1].reshape(-1, 3)
        assert (inside == ink).all(axis=1).any()
        assert tuple(image[y0, x0]) == color


def test_text_may_leave_the_image():
    for corner, inked in [((-30, -10), True), ((95, 75), True), ((500, 500), False)]:
        image = blank()
        draw_text_box(image, "label", corner, RED, TextStyle(14))
        assert bool((image != blank()).any()) == inked


def test_an_unreadable_font_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no TrueType font that can be read"):
        TextStyle(12, str(tmp_path / "font.ttf")).box_size("a")


def places(labels, shape=(400, 400), size=12):
    """The boxes that labels cover, found by drawing each in its own colour on black."""
    image = np.zeros((*shape, 3), np.uint8)
    draw_labels(image, labels, TextStyle(size))
    found = []
    for label in labels:
        ys, xs = np.nonzero((image == label.color).all(axis=2))
        found.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    return found


def test_a_label_sits_on_top_of_its_object():
    ((x0, _, _, y1),) = places([Label("cat", (100.0, 200.0, 180.0, 280.0), (250, 0, 0))])
    assert (x0, y1) == (100, 200)


def test_at_the_upper_edge_it_goes_inside_and_stays_in_the_image():
    ((x0, y0, x1, y1),) = places([Label("a long label", (320.0, 0.0, 400.0, 300.0), (250, 0, 0))])
    assert y0 == 0
    assert y1 < 40
    assert x1 <= 400
    assert x0 >= 310


def test_labels_of_one_place_do_not_cover_each_other():
    labels = [
        Label(f"number {k}", (150.0, 150.0, 250.0, 250.0), (250, 10 * k, 0)) for k in range(6)
    ]
    for a, b in itertools.combinations(places(labels), 2):
        assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])


def test_a_label_does_not_hide_its_small_object():
    ((x0, y0, _, _),) = places([Label("small thing", (0.0, 0.0, 12.0, 12.0), (250, 0, 0))])
    assert x0 >= 12 or y0 >= 12


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.floats(-50, 450)] * 4), max_size=8))
def test_every_label_lies_within_the_image(anchors):
    labels = [
        Label("label", (min(a, c), min(b, d), max(a, c), max(b, d)), (250, 0, 10 * k))
        for k, (a, b, c, d) in enumerate(anchors)
    ]
    image = np.zeros((400, 400, 3), np.uint8)
    draw_labels(image, labels, TextStyle(12))
    width, height = TextStyle(12).box_size("label")
    if labels:  # the last one is covered by none, so its whole box is there
        color = np.array(labels[-1].color)
        ys, xs = np.nonzero((image == color).all(axis=2))
        assert (xs.max() - xs.min() + 1, ys.max() - ys.min() + 1) == (width, height)


def test_colours_are_stable_and_distinct():
    colors = [distinct_color(k) for k in range(40)]
    assert colors == [distinct_color(k) for k in range(40)]
    distances = [np.abs(np.subtract(a, b)).sum() for a, b in itertools.combinations(colors[:12], 2)]
    assert min(distances) > 90


@pytest.mark.parametrize(
    ("background", "text"),
    [
        ((0, 0, 0), 255),
        ((255, 255, 255), 0),
        ((255, 255, 0), 0),
        ((0, 0, 255), 255),
        ((0, 255, 0), 0),
    ],
)
def test_text_is_black_on_light_and_white_on_dark(background, text):
    assert contrast_color(background) == (text, text, text)
