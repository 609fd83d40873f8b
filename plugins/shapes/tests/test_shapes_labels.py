"""The labels of a drawn scene agree with each other and with the picture."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from okulo_shapes.figures import CLASSES, KEYPOINTS, Figure
from okulo_shapes.labels import INFO, annotate, panoptic, rotated_boxes, semantic
from okulo_shapes.scene import MIN_SIDE, MIN_VISIBLE, draw_scene
from okulo_shapes.textures import TEXTURES


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(96, 128, 5, np.random.default_rng(seed)) for seed in range(25)]


def pairs(scenes):
    return [
        (scene, k, figure, annotation)
        for scene in scenes
        for k, (figure, annotation) in enumerate(
            zip(scene.figures, annotate(scene, 1), strict=True)
        )
    ]


def test_every_scene_has_figures_and_all_classes_occur(scenes):
    counts = [len(scene.figures) for scene in scenes]
    assert min(counts) >= 1
    assert max(counts) <= 5
    assert {figure.label for scene in scenes for figure in scene.figures} == set(range(5))
    assert {t for scene in scenes for t in np.unique(scene.ground)} == set(range(4))


def test_boxes_and_areas_are_those_of_the_visible_masks(scenes):
    for scene, k, figure, annotation in pairs(scenes):
        rows, columns = np.nonzero(scene.mask(k))
        assert annotation.bbox == (
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        )
        assert annotation.area == len(rows)
        assert annotation.category_id == figure.label
        np.testing.assert_array_equal(coco_mask.decode(annotation.segmentation), scene.mask(k))


def test_every_figure_is_clearly_visible(scenes):
    for scene, _, figure, annotation in pairs(scenes):
        x, y = figure.outline().T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        x0, y0, x1, y1 = annotation.bbox
        assert annotation.area >= MIN_VISIBLE * area - 1e-3
        assert min(x1 - x0, y1 - y0) >= MIN_SIDE * min(scene.owner.shape)


def test_later_figures_hide_earlier_ones(scenes):
    overlapping = 0
    for scene in scenes:
        for k, figure in enumerate(scene.figures):
            x, y = figure.center
            inside = 0 <= x < scene.owner.shape[1] and 0 <= y < scene.owner.shape[0]
            if inside:
                assert scene.owner[int(y), int(x)] >= k + 1
                overlapping += scene.owner[int(y), int(x)] > k + 1
    assert overlapping > 0


def test_rotated_boxes_are_tight_around_the_visible_pixels(scenes):
    for scene in scenes:
        for k, (cx, cy, width, height, angle) in enumerate(rotated_boxes(scene)):
            rows, columns = np.nonzero(scene.mask(k))
            theta = np.deg2rad(angle)
            # Corners of all pixels in the box's own frame; image y points down.
            x = columns[:, None] + np.array([0, 1, 0, 1]) - cx
            y = rows[:, None] + np.array([0, 0, 1, 1]) - cy
            u = np.cos(theta) * x - np.sin(theta) * y
            v = np.sin(theta) * x + np.cos(theta) * y
            assert abs(np.abs(u).max() - width / 2) < 2e-3
            assert abs(np.abs(v).max() - height / 2) < 2e-3


def test_keypoints_say_what_is_seen(scenes):
    kinds = set()
    for scene, k, figure, annotation in pairs(scenes):
        points = np.array(annotation.keypoints).reshape(-1, 3)
        height, width = scene.owner.shape
        for (x, y, visibility), exact, inner in zip(
            points, figure.keypoints(), figure.keypoints(inset=0.12), strict=True
        ):
            kinds.add(visibility)
            if visibility == 0:
                assert (x, y) == (0, 0)
                assert not (0 <= exact[0] < width and 0 <= exact[1] < height)
            else:
                np.testing.assert_allclose((x, y), exact, atol=1e-3)
                owner = scene.owner[int(inner[1]), int(inner[0])]
                assert (owner == k + 1) == (visibility == 2)
    assert kinds == {0, 1, 2}


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_a_figure_turns_counter_clockwise(label):
    upright = Figure(label=label, center=(50.0, 40.0), radius=10.0, stretch=1.0, angle=0.0)
    tip = upright.keypoints()[KEYPOINTS.index("tip")]
    left, right = (upright.keypoints()[KEYPOINTS.index(name)] for name in ("left", "right"))
    assert tip[0] == pytest.approx(50)
    assert tip[1] < 40
    assert left[0] < 50 < right[0]
    turned = Figure(label=label, center=(50.0, 40.0), radius=10.0, stretch=1.0, angle=90.0)
    moved = turned.keypoints()[KEYPOINTS.index("tip")]
    assert moved[0] < 50  # a quarter turn brings the top to the left
    assert moved[1] == pytest.approx(40)


def test_semantic_labels_are_things_and_textures(scenes):
    for scene in scenes:
        labels = semantic(scene)
        np.testing.assert_array_equal(labels == 0, scene.owner > 0)
        np.testing.assert_array_equal(labels[labels > 0], scene.ground[labels > 0] + 1)
    assert INFO.stuff_classes == ("things", *TEXTURES)


def test_panoptic_segments_cover_the_image(scenes):
    for scene in scenes:
        ids, segments = panoptic(scene)
        assert sorted(s["id"] for s in segments) == np.unique(ids).tolist()
        for segment in segments:
            where = ids == segment["id"]
            if segment["isthing"]:
                k = segment["id"] - 1
                np.testing.assert_array_equal(where, scene.mask(k))
                assert segment["category_id"] == scene.figures[k].label
            else:
                assert set(semantic(scene)[where]) == {segment["category_id"]}


def test_every_class_and_keypoint_is_described():
    assert INFO.thing_classes == CLASSES
    assert INFO.keypoint_names == KEYPOINTS
    assert INFO.keypoint_flip_indices == (0, 2, 1, 3, 4)
    assert not set(INFO.thing_dataset_ids) & set(INFO.stuff_dataset_ids)


def test_mirroring_a_figure_swaps_left_and_right():
    width = 100.0
    for label in range(len(CLASSES)):
        figure = Figure(label=label, center=(30.0, 40.0), radius=9.0, stretch=1.2, angle=25.0)
        mirror = Figure(label=label, center=(70.0, 40.0), radius=9.0, stretch=1.2, angle=-25.0)
        mirrored = figure.keypoints() * (-1, 1) + (width, 0)
        order = list(INFO.keypoint_flip_indices)
        np.testing.assert_allclose(mirrored[order], mirror.keypoints(), atol=1e-9)
