"""Labels of a scene in the forms that data sets use: annotations, rotated boxes, label maps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from okulo_core.data import Annotation, DatasetInfo
from okulo_shapes.figures import CLASSES, KEYPOINTS, Figure
from okulo_shapes.scene import Scene
from okulo_shapes.textures import TEXTURES

__all__ = ["INFO", "annotate", "panoptic", "rotated_boxes", "semantic"]

# The semantic labels follow panoptic FPN: 0 is every thing, then the kinds of stuff.
INFO = DatasetInfo(
    name="shapes",
    thing_classes=CLASSES,
    thing_colors=((230, 80, 70), (70, 130, 230), (70, 190, 100), (240, 190, 50), (170, 90, 210)),
    thing_dataset_ids=tuple(range(1, len(CLASSES) + 1)),
    stuff_classes=("things", *TEXTURES),
    stuff_colors=((0, 0, 0), (190, 190, 210), (150, 170, 150), (180, 160, 140), (140, 150, 180)),
    stuff_dataset_ids=(0, *range(len(CLASSES) + 1, len(CLASSES) + 1 + len(TEXTURES))),
    keypoint_names=KEYPOINTS,
    keypoint_flip_map=(("left", "right"),),
    keypoint_connection_rules=(
        ("tip", "center", (255, 255, 255)),
        ("center", "base", (160, 160, 160)),
        ("left", "center", (250, 120, 110)),
        ("center", "right", (110, 170, 250)),
    ),
)

_STUFF_IDS = 201  # panoptic id of the first texture; figures have 1, 2, ...


def annotate(scene: Scene, first_id: int) -> list[Annotation]:
    """One annotation per figure: box and run-length mask of its visible part, and key points."""
    return [_annotation(scene, k, figure, first_id + k) for k, figure in enumerate(scene.figures)]


def _annotation(scene: Scene, k: int, figure: Figure, id: int) -> Annotation:
    mask = scene.mask(k)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Annotation(
        bbox=(float(x), float(y), float(x + width), float(y + height)),
        category_id=figure.label,
        segmentation={"size": list(mask.shape), "counts": code["counts"].decode("ascii")},
        keypoints=tuple(_keypoints(figure, mask)),
        area=float(mask.sum()),
        id=id,
    )


def _keypoints(figure: Figure, mask: NDArray[np.bool_]) -> list[float]:
    """Flat x, y, visibility: 2 seen, 1 behind another figure, 0 outside the image."""
    height, width = mask.shape
    flat: list[float] = []
    # A key point lies on the outline; whether it is seen is read from a pixel just inside.
    for (x, y), (inner_x, inner_y) in zip(
        figure.keypoints(), figure.keypoints(inset=0.12), strict=True
    ):
        if not (0 <= x < width and 0 <= y < height):
            flat += [0.0, 0.0, 0.0]
        else:
            seen = mask[int(inner_y), int(inner_x)]
            flat += [round(float(x), 3), round(float(y), 3), 2.0 if seen else 1.0]
    return flat


def rotated_boxes(scene: Scene) -> list[list[float]]:
    """(cx, cy, w, h, degrees counter-clockwise) of each visible part, along its figure's axes."""
    return [_rotated_box(scene.mask(k), figure) for k, figure in enumerate(scene.figures)]


def _rotated_box(mask: NDArray[np.bool_], figure: Figure) -> list[float]:
    axes = figure.axes()
    rows, columns = np.nonzero(mask)
    along = np.stack([columns + 0.5, rows + 0.5], axis=1) @ axes.T  # pixel centres
    reach = np.abs(axes).sum(axis=1) / 2  # from a pixel's centre to its furthest corner
    low, high = along.min(axis=0) - reach, along.max(axis=0) + reach
    center = (low + high) / 2 @ axes
    return [round(float(v), 3) for v in (*center, *(high - low), figure.angle)]


def semantic(scene: Scene) -> NDArray[np.uint8]:
    """(H, W) labels: 0 for every figure, 1 + texture for the ground."""
    return np.where(scene.owner > 0, 0, scene.ground + 1).astype(np.uint8)


def panoptic(scene: Scene) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """(H, W) segment ids, and what each id is.

    ``category_id`` is the thing label where ``isthing``, else the stuff label.
    """
    ids = np.where(scene.owner > 0, scene.owner, scene.ground.astype(np.int32) + _STUFF_IDS)
    segments = []
    for id in np.unique(ids).tolist():
        isthing = id < _STUFF_IDS
        label = scene.figures[id - 1].label if isthing else id - _STUFF_IDS + 1
        segments.append({"id": id, "category_id": label, "isthing": isthing, "iscrowd": 0})
    return ids.astype(np.int32), segments
