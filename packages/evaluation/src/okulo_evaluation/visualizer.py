"""Pictures of instances: boxes, rotated boxes, masks, keypoints and labels on an image."""

from collections.abc import Iterable

import cv2
import numpy as np
from attrs import field, frozen
from attrs.validators import and_, ge, gt, le

from okulo_core.data import DatasetInfo, ImageRecord
from okulo_core.protocols import Prediction
from okulo_evaluation.drawing.colors import Color, distinct_color
from okulo_evaluation.drawing.objects import Drawn, annotated_objects, predicted_objects
from okulo_evaluation.drawing.shapes import (
    blend_mask,
    draw_box,
    draw_keypoints,
    draw_rotated_box,
    outline_mask,
)
from okulo_evaluation.drawing.text import Label, TextStyle, draw_labels, draw_text_box

__all__ = ["InstanceVisualizer", "InstanceVisualizerConfig"]

GAP = 4  # pixels between the halves of a panel
TITLE_COLOR = (32, 32, 32)


class InstanceVisualizer:
    """Draws predictions and records; the image given is never changed.

    Images are RGB uint8 arrays (H, W, 3); what is drawn is in pixels of the image given.

    Args:
        info: Class names, colours (made up where absent, but stable) and the keypoints' skeleton.
        mask_alpha: Share of the class colour in a mask's pixels, 0..1.
        keypoint_threshold: Predicted keypoints with a score up to this are not drawn.
        scale: Enlarges the picture before drawing, so that labels on a small image can be read.
        font: TrueType file, for class names beyond ASCII; Pillow's own font when None.
    """

    def __init__(
        self,
        info: DatasetInfo,
        *,
        mask_alpha: float = 0.45,
        keypoint_threshold: float = 0.05,
        scale: float = 1.0,
        font: str | None = None,
    ) -> None:
        self.info = info
        self.mask_alpha = mask_alpha
        self.keypoint_threshold = keypoint_threshold
        self.scale = scale
        self.font = font
        self._limbs = _skeleton(info)

    def draw_prediction(
        self, image: np.ndarray, prediction: Prediction, threshold: float = 0.5
    ) -> np.ndarray:
        """Draw the instances whose score is at least ``threshold``.

        Args:
            image: RGB uint8 (H, W, 3).
            prediction: Its ``instances`` may hold pred_boxes (also rotated), scores, pred_classes,
                pred_masks and pred_keypoints; fields that are absent are left out.
            threshold: Lowest score drawn.
        """
        _check_image(image)
        objects = predicted_objects(
            prediction["instances"], self.info.thing_classes, threshold, self.keypoint_threshold
        )
        return self._draw(image, objects)

    def draw_record(self, image: np.ndarray, record: ImageRecord) -> np.ndarray:
        """Draw the truth of a record on its image, RGB uint8 (H, W, 3)."""
        _check_image(image)
        size, expected = image.shape[:2], (record.height, record.width)
        if None not in expected and size != expected:
            raise ValueError(
                f"{record.file_name} has (height, width) {expected} in its record, got an image "
                f"of {size}; annotations are drawn on the original image"
            )
        return self._draw(image, annotated_objects(record, self.info.thing_classes, size))

    def side_by_side(
        self,
        image: np.ndarray,
        prediction: Prediction,
        record: ImageRecord,
        threshold: float = 0.5,
    ) -> np.ndarray:
        """Prediction left, truth right, each under its title, as one picture."""
        predicted = self._titled(self.draw_prediction(image, prediction, threshold), "prediction")
        truth = self._titled(self.draw_record(image, record), "ground truth")
        gap = np.full((len(truth), GAP, 3), 255, dtype=np.uint8)
        return np.concatenate([predicted, gap, truth], axis=1)

    def color(self, label: int) -> Color:
        """The RGB colour of a class."""
        if label < len(self.info.thing_colors):
            red, green, blue = self.info.thing_colors[label]
            return red, green, blue
        return distinct_color(label)

    def _draw(self, image: np.ndarray, objects: Iterable[Drawn]) -> np.ndarray:
        objects = [thing for thing in objects if thing.is_finite()]
        canvas = _enlarged(image, self.scale)
        thickness = max(1, round(_side(canvas) / 320))
        # Large objects first: a small one in front of them stays visible.
        ordered = sorted(objects, key=Drawn.extent, reverse=True)
        masks = [(self._mask(t, image), self.color(t.label)) for t in ordered if t.mask is not None]
        for mask, color in masks:
            blend_mask(canvas, mask, color, self.mask_alpha)
        for mask, color in masks:
            outline_mask(canvas, mask, color, max(1, thickness - 1))
        for thing in ordered:
            self._draw_lines(canvas, thing, thickness)
        style = TextStyle(size=max(10, round(_side(canvas) / 46)), font=self.font)
        draw_labels(canvas, [label for t in objects for label in self._labels(t)], style)
        return canvas

    def _draw_lines(self, canvas: np.ndarray, thing: Drawn, thickness: int) -> None:
        color, scale = self.color(thing.label), self.scale
        if thing.box is not None and len(thing.box) == 5:
            draw_rotated_box(canvas, [*(thing.box[:4] * scale), thing.box[4]], color, thickness)
        elif thing.box is not None:
            draw_box(canvas, thing.box * scale, color, thickness)
        if thing.points is not None and thing.shown is not None:
            colors = [distinct_color(k) for k in range(len(thing.points))]
            limbs = [limb for limb in self._limbs if max(limb[:2]) < len(thing.points)]
            draw_keypoints(canvas, thing.points * scale, thing.shown, limbs, colors, thickness)

    def _mask(self, thing: Drawn, image: np.ndarray) -> np.ndarray:
        """The object's mask at the size of the canvas."""
        mask = thing.mask
        assert mask is not None
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"masks must have the image's (height, width) {image.shape[:2]}, got {mask.shape}; "
                "predictions and truth are drawn on the original image"
            )
        return _enlarged(mask.astype(np.float32), self.scale) > 0.5 if self.scale != 1 else mask

    def _labels(self, thing: Drawn) -> list[Label]:
        bounds = thing.bounds()
        if not thing.text or bounds is None:
            return []
        x0, y0, x1, y1 = (bounds * self.scale).tolist()
        return [Label(thing.text, (x0, y0, x1, y1), self.color(thing.label))]

    def _titled(self, picture: np.ndarray, title: str) -> np.ndarray:
        style = TextStyle(size=max(11, round(_side(picture) / 36)))
        width, height = style.box_size(title)
        bar = np.full((height + 4, picture.shape[1], 3), TITLE_COLOR, dtype=np.uint8)
        draw_text_box(bar, title, ((picture.shape[1] - width) // 2, 2), TITLE_COLOR, style)
        return np.concatenate([bar, picture])


@frozen(kw_only=True)
class InstanceVisualizerConfig:
    """Settings of :class:`InstanceVisualizer`."""

    mask_alpha: float = field(default=0.45, validator=and_(ge(0.0), le(1.0)))
    keypoint_threshold: float = 0.05
    scale: float = field(default=1.0, validator=gt(0.0))
    font: str | None = None

    def build(self, info: DatasetInfo) -> InstanceVisualizer:
        return InstanceVisualizer(
            info,
            mask_alpha=self.mask_alpha,
            keypoint_threshold=self.keypoint_threshold,
            scale=self.scale,
            font=self.font,
        )


def _skeleton(info: DatasetInfo) -> list[tuple[int, int, Color]]:
    number = {name: k for k, name in enumerate(info.keypoint_names)}
    return [(number[a], number[b], color) for a, b, color in info.keypoint_connection_rules]


def _side(image: np.ndarray) -> float:
    """Side of the square with the image's area, in pixels; lines and letters grow with it."""
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def _check_image(image: np.ndarray) -> None:
    shape, dtype = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise ValueError(
            f"the image must be an RGB uint8 array of shape (H, W, 3), got {dtype} {shape}"
        )


def _enlarged(image: np.ndarray, scale: float) -> np.ndarray:
    """A copy of an image or mask, ``scale`` times as large."""
    if scale == 1:
        return np.array(image, order="C")
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
