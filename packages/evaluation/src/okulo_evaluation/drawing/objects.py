"""What predictions and truth have in common for drawing: one object with a place and a text."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from attrs import frozen
from pycocotools import mask as rle

from okulo_core.data import Annotation, ImageRecord
from okulo_core.structures import BoxMode, Instances, polygons_to_bitmask
from okulo_evaluation.drawing.shapes import rotated_corners

__all__ = ["Drawn", "annotated_objects", "predicted_objects"]


@frozen(eq=False, kw_only=True)
class Drawn:
    """One thing to draw, in pixels of the image. Whatever is absent is not drawn."""

    label: int
    text: str
    box: np.ndarray | None = None  # (4,) XYXY or (5,) cx, cy, w, h, degrees
    mask: np.ndarray | None = None  # (H, W) bool
    points: np.ndarray | None = None  # (K, 2) x, y
    shown: np.ndarray | None = None  # (K,) bool: which of the points

    def bounds(self) -> np.ndarray | None:
        """XYXY around the object: of its box, else its mask, else its points; None without any."""
        if self.box is not None:
            corners = rotated_corners(self.box) if len(self.box) == 5 else self.box.reshape(2, 2)
        elif self.mask is not None and self.mask.any():
            x, y, width, height = cv2.boundingRect(self.mask.view(np.uint8))
            corners = np.array([[x, y], [x + width, y + height]])
        elif self.points is not None and self.shown is not None and self.shown.any():
            corners = self.points[self.shown]
        else:
            return None
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(float)

    def extent(self) -> float:
        """Area of the bounds, in square pixels."""
        bounds = self.bounds()
        return 0.0 if bounds is None else float(np.prod(bounds[2:] - bounds[:2]))

    def is_finite(self) -> bool:
        """Whether every number is; nothing else can be drawn."""
        numbers = [array for array in (self.box, self.points) if array is not None]
        return all(np.isfinite(array).all() for array in numbers)


def predicted_objects(
    instances: Instances, classes: Sequence[str], threshold: float, keypoint_threshold: float
) -> Iterator[Drawn]:
    """Instances of at least a score, the highest first; fields that are absent are left out."""
    if instances.has("scores"):
        instances = instances[instances.scores >= threshold]
        instances = instances[instances.scores.argsort(descending=True)]
    fields = {name: _array(instances.get(name)) for name in PREDICTED if instances.has(name)}
    for k in range(len(instances)):
        row = {name: values[k] for name, values in fields.items()}
        name = _class_name(classes, int(row["pred_classes"])) if "pred_classes" in row else ""
        percent = f"{100 * float(row['scores']):.0f}%" if "scores" in row else ""
        points = row.get("pred_keypoints")
        yield Drawn(
            label=int(row.get("pred_classes", 0)),
            text=f"{name} {percent}".strip(),
            box=row.get("pred_boxes"),
            mask=row["pred_masks"] > 0.5 if "pred_masks" in row else None,
            points=None if points is None else points[:, :2],
            shown=None if points is None else points[:, 2] > keypoint_threshold,
        )


def annotated_objects(
    record: ImageRecord, classes: Sequence[str], size: tuple[int, int]
) -> Iterator[Drawn]:
    """The annotations of an image of a size (height, width), in their order."""
    for annotation in record.annotations:
        name = _class_name(classes, annotation.category_id)
        keypoints = np.reshape(annotation.keypoints or (), (-1, 3))
        yield Drawn(
            label=annotation.category_id,
            text=f"{name} (crowd)" if annotation.iscrowd else name,
            box=_annotated_box(annotation),
            mask=_annotated_mask(annotation, size),
            points=keypoints[:, :2],
            shown=keypoints[:, 2] > 0,
        )


PREDICTED = ("pred_boxes", "scores", "pred_classes", "pred_masks", "pred_keypoints")


def _class_name(classes: Sequence[str], label: int) -> str:
    return classes[label] if label < len(classes) else str(label)


def _array(values: Any) -> np.ndarray:
    """A field of instances (a tensor, or a structure around one) as an array."""
    return getattr(values, "tensor", values).detach().cpu().numpy()


def _annotated_box(annotation: Annotation) -> np.ndarray:
    box = list(annotation.bbox)
    if annotation.bbox_mode != BoxMode.XYWHA_ABS:
        box = BoxMode.convert(box, annotation.bbox_mode, BoxMode.XYXY_ABS)
    return np.asarray(box, dtype=float)


def _annotated_mask(annotation: Annotation, size: tuple[int, int]) -> np.ndarray | None:
    segmentation = annotation.segmentation
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):  # COCO's files have crowds in this form
            segmentation = rle.frPyObjects(segmentation, *segmentation["size"])
        return rle.decode([segmentation])[:, :, 0].astype(bool)
    polygons = [np.asarray(polygon, dtype=np.float64) for polygon in segmentation]
    return np.asarray(polygons_to_bitmask(polygons, *size)).astype(bool)
