"""The instance visualizer: what is drawn where, what is left out, what is refused.

In the spirit of rows D2-764, D2-767, D2-768, D2-769 and D2-770.
"""

import numpy as np
import pytest
import torch

from okulo_core.data import Annotation, DatasetInfo, ImageRecord
from okulo_core.structures import Boxes, BoxMode, Instances, RotatedBoxes
from okulo_evaluation.visualizer import InstanceVisualizer, InstanceVisualizerConfig

RED, GREEN = (250, 0, 0), (0, 250, 0)
INFO = DatasetInfo(
    name="pets",
    thing_classes=("cat", "dog"),
    thing_colors=(RED, GREEN),
    keypoint_names=("nose", "tail"),
    keypoint_connection_rules=(("nose", "tail", (0, 0, 250)),),
)
HEIGHT, WIDTH = 200, 240
IMAGE = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
BOX = (60.5, 80.5, 160.5, 150.5)


def prediction(n=1, **fields):
    table = Instances((HEIGHT, WIDTH))
    table.pred_boxes = Boxes(torch.tensor([BOX] * n).reshape(n, 4))
    table.scores = torch.linspace(0.9, 0.6, n)
    table.pred_classes = torch.zeros(n, dtype=torch.int64)
    for name, value in fields.items():
        if table.has(name):
            table.remove(name)
        table.set(name, value)
    return {"instances": table}


def record(**annotation):
    annotation = {"bbox": BOX, "category_id": 1} | annotation
    return ImageRecord(
        file_name="a.png",
        image_id=1,
        height=HEIGHT,
        width=WIDTH,
        annotations=(Annotation(**annotation),),
    )


def near(pixel, color):
    """OpenCV's smoothed lines miss their colour by a few percent, also in the middle."""
    return bool(np.abs(np.subtract(pixel, color, dtype=int)).max() <= 20)


@pytest.fixture
def visualizer():
    return InstanceVisualizerConfig().build(INFO)


def test_a_box_and_its_label_have_the_class_colour(visualizer):
    drawn = visualizer.draw_prediction(IMAGE, prediction())
    assert tuple(drawn[150, 110]) == RED  # lower edge
    assert (drawn[65:80, 61:100] == RED).all(axis=2).mean() > 0.4  # label above, part of it letters
    assert (drawn[90:145, 70:150] == 100).all()


def test_the_image_given_is_not_changed(visualizer):
    before = IMAGE.copy()
    visualizer.draw_prediction(IMAGE, prediction())
    visualizer.draw_record(IMAGE, record())
    visualizer.draw_prediction(IMAGE, prediction(0))
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("output", [prediction(0), prediction(2, scores=torch.tensor([0.1, 0.49]))])
def test_without_instances_above_the_threshold_the_picture_is_the_image(visualizer, output):
    np.testing.assert_array_equal(visualizer.draw_prediction(IMAGE, output), IMAGE)


def test_the_threshold_is_included(visualizer):
    output = prediction(1, scores=torch.tensor([0.25]))
    assert (visualizer.draw_prediction(IMAGE, output, threshold=0.25) != IMAGE).any()
    assert (visualizer.draw_prediction(IMAGE, output, threshold=0.26) == IMAGE).all()


def test_predictions_without_scores_and_classes_can_be_drawn(visualizer):
    table = Instances((HEIGHT, WIDTH), pred_boxes=Boxes(torch.tensor([BOX])))
    drawn = visualizer.draw_prediction(IMAGE, {"instances": table})
    assert tuple(drawn[150, 110]) == RED
    assert (drawn[40:78] == 100).all()  # no text


def test_masks_are_blended_and_small_ones_stay_visible_on_large_ones(visualizer):
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, 90:100, 70:80] = True  # small, and first: it has the higher score
    masks[1, 81:150, 61:160] = True
    boxes = Boxes(torch.tensor([[70.0, 90.0, 80.0, 100.0], BOX]))
    output = prediction(2, pred_masks=masks, pred_boxes=boxes, pred_classes=torch.tensor([1, 0]))
    drawn = InstanceVisualizer(INFO, mask_alpha=0.5).draw_prediction(IMAGE, output)
    assert tuple(drawn[130, 110]) == (175, 50, 50)
    assert tuple(drawn[95, 75]) == (88, 150, 25)  # green over red


def test_predicted_keypoints_need_their_score(visualizer):
    points = torch.tensor([[[80.5, 120.5, 0.9], [140.5, 120.5, 0.04]]])
    drawn = visualizer.draw_prediction(IMAGE, prediction(1, pred_keypoints=points))
    assert tuple(drawn[120, 80]) != (100, 100, 100)
    assert (drawn[110:130, 100:150] == 100).all()
    points[0, 1, 2] = 0.5
    drawn = visualizer.draw_prediction(IMAGE, prediction(1, pred_keypoints=points))
    assert near(drawn[120, 110], (0, 0, 250))  # the limb


def test_rotated_boxes_are_drawn_rotated(visualizer):
    boxes = RotatedBoxes(torch.tensor([[120.5, 100.5, 80.0, 20.0, 90.0]]))
    drawn = visualizer.draw_prediction(IMAGE, prediction(1, pred_boxes=boxes))
    assert near(drawn[100, 130], RED)  # its lower edge is now on the right
    assert (drawn[95:106, 150:170] == 100).all()


def test_truth_is_drawn_with_polygons_keypoints_and_no_percent(visualizer):
    square = (70.0, 90.0, 150.0, 90.0, 150.0, 140.0, 70.0, 140.0)
    drawn = visualizer.draw_record(
        IMAGE, record(segmentation=(square,), keypoints=(80.5, 120.5, 2, 140.5, 120.5, 0))
    )
    assert tuple(drawn[150, 110]) == GREEN
    assert drawn[130, 110, 1] > 150  # mask
    assert tuple(drawn[120, 80]) != tuple(drawn[130, 110])  # nose
    assert tuple(drawn[120, 140]) == tuple(drawn[130, 110])  # tail: not labelled


@pytest.mark.parametrize(
    ("bbox", "mode"),
    [((60.5, 80.5, 100, 70), BoxMode.XYWH_ABS), ((110.5, 115.5, 100, 70, 0), BoxMode.XYWHA_ABS)],
)
def test_truth_may_have_boxes_of_any_kind(visualizer, bbox, mode):
    drawn = visualizer.draw_record(IMAGE, record(bbox=bbox, bbox_mode=mode))
    assert near(drawn[150, 110], GREEN)
    assert near(drawn[115, 60], GREEN)


def test_run_lengths_of_both_kinds_are_drawn(visualizer):
    ones = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    drawn = visualizer.draw_record(IMAGE, record(segmentation=ones, iscrowd=1))
    assert (drawn[:60] != 100).all(axis=2).mean() > 0.9


def test_an_image_without_annotations_stays_as_it_is(visualizer):
    empty = ImageRecord(file_name="a", image_id=1)
    np.testing.assert_array_equal(visualizer.draw_record(IMAGE, empty), IMAGE)


def test_boxes_that_are_not_finite_are_left_out(visualizer):
    boxes = Boxes(torch.tensor([[float("nan"), 0, 10, 10], [0, 0, float("inf"), 10]]))
    drawn = visualizer.draw_prediction(IMAGE, prediction(2, pred_boxes=boxes))
    np.testing.assert_array_equal(drawn, IMAGE)


def test_scale_enlarges_image_and_objects():
    masks = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, 81:150, 61:160] = True
    drawn = InstanceVisualizer(INFO, scale=2.0, mask_alpha=0.5).draw_prediction(
        IMAGE, prediction(pred_masks=masks)
    )
    assert drawn.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert tuple(drawn[300, 220]) == RED
    assert tuple(drawn[240, 220]) == (175, 50, 50)


def test_prediction_and_truth_stand_side_by_side(visualizer):
    panel = visualizer.side_by_side(IMAGE, prediction(), record())
    assert panel.shape[1] > 2 * WIDTH
    top = panel.shape[0] - HEIGHT
    right = panel.shape[1] - WIDTH
    assert top > 0
    np.testing.assert_array_equal(
        panel[top:, :WIDTH], visualizer.draw_prediction(IMAGE, prediction())
    )
    np.testing.assert_array_equal(panel[top:, right:], visualizer.draw_record(IMAGE, record()))


def test_classes_without_colours_get_stable_ones():
    plain = InstanceVisualizer(DatasetInfo(name="x", thing_classes=("a", "b")))
    assert plain.color(0) == InstanceVisualizer(DatasetInfo(name="y")).color(0)
    assert len({plain.color(k) for k in range(100)}) == 100


def test_lines_grow_with_the_image(visualizer):
    large = np.full((1600, 2000, 3), 100, np.uint8)
    table = Instances((1600, 2000), pred_boxes=Boxes(torch.tensor([[500.0, 500, 1500, 1200]])))
    drawn = visualizer.draw_prediction(large, {"instances": table})
    assert (drawn[:, 1000] == RED).all(axis=1).sum() >= 8  # two edges of four pixels or more


@pytest.mark.parametrize(
    "image", [IMAGE[..., 0], IMAGE.astype(np.float32), np.zeros((4, 4, 4), np.uint8)], ids=str
)
def test_what_is_no_rgb_image_is_refused(visualizer, image):
    for draw in (
        lambda: visualizer.draw_prediction(image, prediction()),
        lambda: visualizer.draw_record(image, record()),
    ):
        with pytest.raises(ValueError, match=r"RGB uint8 array of shape \(H, W, 3\), got"):
            draw()


def test_an_image_of_another_size_than_its_record_is_refused(visualizer):
    with pytest.raises(ValueError, match=r"a.png has .* \(200, 240\) in its record, got an image"):
        visualizer.draw_record(IMAGE[:100], record())


def test_masks_of_another_size_than_the_image_are_refused(visualizer):
    output = prediction(1, pred_masks=torch.zeros(1, 28, 28, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"image's \(height, width\) \(200, 240\), got \(28, 28\)"):
        visualizer.draw_prediction(IMAGE, output)


@pytest.mark.parametrize("setting", [{"mask_alpha": 1.5}, {"scale": 0.0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        InstanceVisualizerConfig(**setting)
