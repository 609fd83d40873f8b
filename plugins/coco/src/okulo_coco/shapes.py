"""Checks and conversions of one annotation's box, mask and keypoints."""

import math
from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask

from okulo_core.errors import DataError

__all__ = ["box_fault", "clipped_box", "read_keypoints", "read_rle", "valid_polygon"]

# Tools that write COCO files round boxes; up to a pixel beyond the border is no mistake.
_BORDER = 1.0


def box_fault(bbox: Any) -> str | None:
    """What is wrong with a box (left, top, width, height or cx, cy, width, height, angle)."""
    if not isinstance(bbox, list) or len(bbox) not in (4, 5):
        return "not a list of 4 numbers, or 5 with an angle"
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in bbox):
        return "not finite"
    return "inverted: width or height is negative" if bbox[2] < 0 or bbox[3] < 0 else None


def clipped_box(bbox: Sequence[float], height: int, width: int) -> list[float] | None:
    """Cut a box to its image; None if it lies outside altogether.

    Args:
        bbox: Left, top, width, height in pixels.
        height: Of the image.
        width: Of the image.

    Returns:
        The box itself if it reaches at most a pixel beyond the border.
    """
    left, top, right, bottom = bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]
    if min(right, bottom) < 0 or left > width or top > height:
        return None
    if max(-left, -top, right - width, bottom - height) <= _BORDER:
        return list(bbox)
    x, y = max(left, 0), max(top, 0)
    return [x, y, min(right, width) - x, min(bottom, height) - y]


def valid_polygon(polygon: Any) -> bool:
    """Whether this is x0, y0, x1, y1, ... with at least three points, all finite."""
    return (
        isinstance(polygon, list)
        and len(polygon) % 2 == 0
        and len(polygon) >= 6
        and all(math.isfinite(value) for value in polygon)
    )


def read_rle(rle: dict[str, Any], height: int, width: int, place: str) -> dict[str, Any]:
    """A run-length code with compressed counts; its size must be the image's."""
    if list(rle.get("size", ())) != [height, width]:
        raise DataError(
            f"{place}: its mask is for an image of height, width {rle.get('size')}, but the "
            f"image's record says {[height, width]}"
        )
    if isinstance(rle.get("counts"), list):
        return coco_mask.frPyObjects(rle, height, width)
    return rle


def read_keypoints(values: list[float], expected: int, place: str) -> list[float]:
    """Keypoints with continuous coordinates: COCO's are pixel indices, so x and y gain 0.5."""
    if len(values) % 3 != 0 or (expected and len(values) != 3 * expected):
        raise DataError(
            f"{place}: expected x, y, v of {expected or 'all'} keypoints, got {len(values)} numbers"
        )
    return [value if i % 3 == 2 else value + 0.5 for i, value in enumerate(values)]
