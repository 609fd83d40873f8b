"""Pictures of instances: boxes, rotated boxes, masks, keypoints and labels on an image.

Images are RGB uint8 arrays (H, W, 3); what is drawn is in pixels of that image.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from attrs import field, frozen
from attrs.validators import and_, ge, gt, le
from pycocotools import mask as rle

from okulo_core.data import Annotation, DatasetInfo, ImageRecord
from okulo_core.protocols import Prediction
from okulo_core.structures import BoxMode, Instances, polygons_to_bitmask
from okulo_evaluation.drawing.colors import Color, distinct_color
from okulo_evaluation.drawing.shapes import (
    blend_mask,
    draw_box,
    draw_keypoints,
    draw_rotated_box,
    outline_mask,
    rotated_corners,
)
from okulo_evaluation.drawing.text import Label, draw_labels, draw_text_box, text_box_size

__all__ = ["InstanceVisualizer", "InstanceVisualizerConfig"]

GAP = 4  # pixels between the halves of a panel


@frozen(eq=False, kw_only=True)
class _Object:
    """One thing to draw, from a prediction or from the truth."""

    label: int
    text: str
    box: np.ndarray | None = None  # (4,) XYXY or (5,) cx, cy, w, h, degrees
    mask: np.ndarray | None = None  # (H, W) bool
    points: np.ndarray | None = None  # (K, 2) x, y
    shown: np.ndarray | None = None  # (K,) bool

    def corners(self) -> np.ndarray:
        """Points (P, 2) whose bounding box is the object's; P may be 0."""
        if self.box is not None:
            return rotated_corners(self.box) if len(self.box) == 5 else self.box.reshape(2, 2)
        if self.mask is not None and self.mask.any():
            x, y, width, height = cv2.boundingRect(self.mask.view(np.uint8))
            return np.array([[x, y], [x + width, y + height]], dtype=float)
        if self.points is not None and self.shown is not None:
            return self.points[self.shown]
        return np.zeros((0, 2))


class InstanceVisualizer:
    """Draw predictions and records; the image given is never changed.

    Args:
        info: Class names, colours (made up where absent, but stable) and the keypoints' skeleton.
        mask_alpha: Share of the class colour in a mask's pixels, 0..1.
        keypoint_threshold: Predicted keypoints with a score up to this are not drawn.
        scale: Enlarges the picture before drawing, so that labels on a small image can be read.
    """

    def __init__(
        self,
        info: DatasetInfo,
        *,
        mask_alpha: float = 0.45,
        keypoint_threshold: float = 0.05,
        scale: float = 1.0,
    ) -> None:
        self.info = info
        self.mask_alpha = mask_alpha
        self.keypoint_threshold = keypoint_threshold
        self.scale = scale
        self._limbs = _skeleton(info)

    def draw_prediction(
        self, image: np.ndarray, prediction: Prediction, threshold: float = 0.5
    ) -> np.ndarray:
        """Draw the instances whose score is at least ``threshold``.

        Args:
            image: RGB uint8 (H, W, 3).
            prediction: Its ``instances`` may hold pred_boxes (also rotated), scores, pred_classes,
                pred_masks and pred_keypoints, in pixels of ``image``; absent fields are left out.
            threshold: Lowest score drawn.
        """
        return self._draw(image, self._predicted(prediction["instances"], threshold))

    def draw_record(self, image: np.ndarray, record: ImageRecord) -> np.ndarray:
        """Draw the truth of a record on its image, RGB uint8 (H, W, 3)."""
        size, expected = image.shape[:2], (record.height, record.width)
        if None not in expected and size != expected:
            raise ValueError(
                f"{record.file_name} has (height, width) {expected} in its record, "
                f"got an image of {size}; annotations are in pixels of the original image"
            )
        return self._draw(image, [self._annotated(a, size) for a in record.annotations])

    def side_by_side(
        self,
        image: np.ndarray,
        prediction: Prediction,
        record: ImageRecord,
        threshold: float = 0.5,
    ) -> np.ndarray:
        """Prediction left, truth right, each under its title: uint8 (H', 2 W' + gap, 3)."""
        predicted = self.draw_prediction(image, prediction, threshold)
        truth = self.draw_record(image, record)
        halves = [_titled(predicted, "prediction"), _titled(truth, "ground truth")]
        gap = np.full((len(halves[0]), GAP, 3), 255, dtype=np.uint8)
        return np.concatenate([halves[0], gap, halves[1]], axis=1)

    def color(self, label: int) -> Color:
        """The RGB colour of a class."""
        if label < len(self.info.thing_colors):
            red, green, blue = self.info.thing_colors[label]
            return red, green, blue
        return distinct_color(label)

    def _predicted(self, instances: Instances, threshold: float) -> list[_Object]:
        if instances.has("scores"):
            instances = instances[instances.scores >= threshold]
            # The highest score comes first and gets the best place for its label.
            instances = instances[instances.scores.argsort(descending=True)]
        fields = {name: _array(value) for name, value in instances.get_fields().items()}
        objects = []
        for k in range(len(instances)):
            row = {name: values[k] for name, values in fields.items()}
            points = row.get("pred_keypoints")
            label = int(row.get("pred_classes", 0))
            objects.append(
                _Object(
                    label=label,
                    text=self._caption(label, row.get("scores"), named="pred_classes" in row),
                    box=row.get("pred_boxes"),
                    mask=row["pred_masks"] > 0.5 if "pred_masks" in row else None,
                    points=None if points is None else points[:, :2],
                    shown=None if points is None else points[:, 2] > self.keypoint_threshold,
                )
            )
        return objects

    def _annotated(self, annotation: Annotation, size: tuple[int, int]) -> _Object:
        keypoints = np.reshape(annotation.keypoints or (), (-1, 3))
        text = self._caption(annotation.category_id, None, named=True)
        return _Object(
            label=annotation.category_id,
            text=f"{text} (crowd)" if annotation.iscrowd else text,
            box=_annotated_box(annotation),
            mask=_annotated_mask(annotation, size),
            points=keypoints[:, :2],
            shown=keypoints[:, 2] > 0,
        )

    def _caption(self, label: int, score: Any, *, named: bool) -> str:
        classes = self.info.thing_classes
        name = (classes[label] if label < len(classes) else str(label)) if named else ""
        percent = "" if score is None else f"{100 * float(score):.0f}%"
        return f"{name} {percent}".strip()

    def _draw(self, image: np.ndarray, objects: Sequence[_Object]) -> np.ndarray:
        _check_image(image)
        objects = [thing for thing in objects if _is_drawable(thing, image.shape)]
        scale = self.scale
        canvas = _resized(image, scale) if scale != 1 else np.ascontiguousarray(image).copy()
        height, width = canvas.shape[:2]
        thickness = max(1, round((height * width) ** 0.5 / 350))
        font_size = max(10, round((height * width) ** 0.5 / 42))
        # Large objects first: a small one in front of them stays visible.
        ordered = sorted(objects, key=_extent, reverse=True)
        masks = [
            (self.color(t.label), self._mask(t.mask, canvas)) for t in ordered if t.mask is not None
        ]
        for color, mask in masks:
            blend_mask(canvas, mask, color, self.mask_alpha)
        for color, mask in masks:
            outline_mask(canvas, mask, color, thickness)
        for thing in ordered:
            self._draw_lines(canvas, thing, thickness)
        draw_labels(
            canvas, [self._label(t) for t in objects if t.text and len(t.corners())], font_size
        )
        return canvas

    def _draw_lines(self, canvas: np.ndarray, thing: _Object, thickness: int) -> None:
        color, scale = self.color(thing.label), self.scale
        if thing.box is not None and len(thing.box) == 5:
            draw_rotated_box(canvas, [*(thing.box[:4] * scale), thing.box[4]], color, thickness)
        elif thing.box is not None:
            draw_box(canvas, list(thing.box * scale), color, thickness)
        if thing.points is not None and thing.shown is not None:
            colors = [distinct_color(k) for k in range(len(thing.points))]
            limbs = [limb for limb in self._limbs if max(limb[:2]) < len(thing.points)]
            draw_keypoints(canvas, thing.points * scale, thing.shown, limbs, colors, thickness)

    def _mask(self, mask: np.ndarray, canvas: np.ndarray) -> np.ndarray:
        if mask.shape == canvas.shape[:2]:
            return mask
        size = (canvas.shape[1], canvas.shape[0])
        return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5

    def _label(self, thing: _Object) -> Label:
        corners = thing.corners() * self.scale
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        return Label(thing.text, (x0, y0, x1, y1), self.color(thing.label))


@frozen(kw_only=True)
class InstanceVisualizerConfig:
    """Settings of :class:`InstanceVisualizer`."""

    mask_alpha: float = field(default=0.45, validator=and_(ge(0.0), le(1.0)))
    keypoint_threshold: float = 0.05
    scale: float = field(default=1.0, validator=gt(0.0))

    def build(self, info: DatasetInfo) -> InstanceVisualizer:
        return InstanceVisualizer(
            info,
            mask_alpha=self.mask_alpha,
            keypoint_threshold=self.keypoint_threshold,
            scale=self.scale,
        )


def _skeleton(info: DatasetInfo) -> list[tuple[int, int, Color]]:
    number = {name: k for k, name in enumerate(info.keypoint_names)}
    return [
        (number[start], number[end], color)
        for start, end, color in info.keypoint_connection_rules
        if start in number and end in number
    ]


def _array(values: Any) -> np.ndarray:
    """A field of instances (tensor, or a structure around one) as an array."""
    tensor = getattr(values, "tensor", values)
    return tensor.detach().cpu().numpy()


def _annotated_box(annotation: Annotation) -> np.ndarray:
    box, mode = list(annotation.bbox), annotation.bbox_mode
    if mode != BoxMode.XYWHA_ABS:
        box = BoxMode.convert(box, mode, BoxMode.XYXY_ABS)
    return np.asarray(box, dtype=float)


def _annotated_mask(annotation: Annotation, size: tuple[int, int]) -> np.ndarray | None:
    segmentation = annotation.segmentation
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return rle.decode(segmentation).astype(bool)
    polygons = [np.asarray(polygon, dtype=np.float64) for polygon in segmentation]
    return np.asarray(polygons_to_bitmask(polygons, *size)).astype(bool)


def _is_drawable(thing: _Object, shape: tuple[int, ...]) -> bool:
    """Raise for a mask of another size; leave out what has no place (NaN or infinite)."""
    if thing.mask is not None and thing.mask.shape != shape[:2]:
        raise ValueError(
            f"masks must have the image's (height, width) {shape[:2]}, got {thing.mask.shape}; "
            "predictions and truth are drawn on the original image"
        )
    numbers = [a for a in (thing.box, thing.points) if a is not None]
    return all(np.isfinite(a).all() for a in numbers)


def _extent(thing: _Object) -> float:
    """Area of the object's bounding box, in square pixels."""
    corners = thing.corners()
    return float(np.prod(np.ptp(corners, axis=0))) if len(corners) else 0.0


def _check_image(image: np.ndarray) -> None:
    shape = np.shape(image)
    if getattr(image, "dtype", None) != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise ValueError(
            f"the image must be an RGB uint8 array of shape (H, W, 3), "
            f"got {getattr(image, 'dtype', type(image).__name__)} {shape}"
        )


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    font_size = max(11, round((picture.shape[0] * picture.shape[1]) ** 0.5 / 36))
    width, height = text_box_size(title, font_size)
    bar = np.full((height + 4, picture.shape[1], 3), 32, dtype=np.uint8)
    draw_text_box(bar, title, ((picture.shape[1] - width) // 2, 2), font_size, (32, 32, 32))
    return np.concatenate([bar, picture])
