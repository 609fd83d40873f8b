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
    """Cut a box to its image; None if it lies outside, or touches the border from there.

    Args:
        bbox: Left, top, width, height in pixels.
        height: Of the image.
        width: Of the image.

    Returns:
        The box itself if it reaches at most a pixel beyond the border.
    """
    left, top, right, bottom = bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]
    for low, high, size in ((left, right, width), (top, bottom, height)):
        if low < 0 >= high or high > size <= low:
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
        and all(isinstance(value, int | float) and math.isfinite(value) for value in polygon)
    )


def read_rle(rle: dict[str, Any], height: int, width: int, place: str) -> dict[str, Any]:
    """A run-length code with compressed counts; its size must be the image's."""
    missing = [key for key in ("size", "counts") if rle.get(key) is None]
    if missing:
        raise DataError(f"{place}: its mask lacks {missing}")
    if rle["size"] != [height, width]:
        raise DataError(
            f"{place}: its mask is for an image of height, width {rle['size']}, but the "
            f"image's record says {[height, width]}"
        )
    # pycocotools fills what the counts do not cover with whatever the memory held.
    counts = _decoded(rle["counts"]) if isinstance(rle["counts"], str) else rle["counts"]
    if (
        not isinstance(counts, list)
        or not all(isinstance(count, int) and count >= 0 for count in counts)
        or sum(counts) != height * width
    ):
        raise DataError(
            f"{place}: the counts of its mask do not decode to {height} x {width} pixels: "
            f"{rle['counts']!r:.80}"
        )
    return coco_mask.frPyObjects(rle, height, width) if counts is rle["counts"] else rle


def _decoded(code: str) -> list[int] | None:
    """The counts of a compressed run-length code; None if it is none.

    Five bits per character, lowest first; the sixth says that more follow. From the fourth on,
    counts are differences to the one before the last.
    """
    counts: list[int] = []
    value = shift = 0
    for character in code:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return None if shift else counts


def read_keypoints(values: list[float], expected: int, place: str) -> list[float]:
    """Keypoints with continuous coordinates: COCO's are pixel indices, so x and y gain 0.5."""
    if len(values) % 3 != 0 or (expected and len(values) != 3 * expected):
        raise DataError(
            f"{place}: expected x, y, v of {expected or 'all'} keypoints, got {len(values)} numbers"
        )
    return [value if i % 3 == 2 else value + 0.5 for i, value in enumerate(values)]
