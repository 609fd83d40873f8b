"""Primitives on RGB uint8 images (H, W, 3), in place, with OpenCV.

Coordinates are continuous pixels; OpenCV draws in coordinates where whole numbers are pixel
centres, hence the half pixel taken off in :func:`_fixed_point`.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from okulo_evaluation.drawing.colors import Color

__all__ = [
    "blend_mask",
    "draw_box",
    "draw_keypoints",
    "draw_rotated_box",
    "outline_mask",
    "rotated_corners",
]

SHIFT = 4  # binary digits after the point in OpenCV's fixed-point coordinates
FARTHEST = 2**20  # pixels; beyond it fixed-point numbers would overflow


def blend_mask(image: np.ndarray, mask: np.ndarray, color: Color, alpha: float) -> None:
    """Tint the pixels of ``mask`` (H, W) bool: ``alpha`` of ``color``, the rest stays."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    region = image[y : y + height, x : x + width]
    inside = mask[y : y + height, x : x + width]
    tinted = region[inside] * (1 - alpha) + np.asarray(color) * alpha
    region[inside] = (tinted + 0.5).astype(np.uint8)


def outline_mask(image: np.ndarray, mask: np.ndarray, color: Color, thickness: int) -> None:
    """Draw the borders of ``mask`` (H, W) bool, holes included."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, contours, -1, color, thickness, cv2.LINE_AA)


def draw_box(
    image: np.ndarray, box: Sequence[float] | np.ndarray, color: Color, thickness: int
) -> None:
    """Draw the border of an XYXY box, sharp on the pixel grid and exactly ``thickness`` wide."""
    corners = np.clip(np.reshape(box, (2, 2)), -FARTHEST, FARTHEST) - 0.5
    left, top, right, bottom = np.round(corners).astype(int).ravel().tolist()
    before, after = thickness // 2, thickness - thickness // 2
    x0, y0, x1, y1 = left - before, top - before, right + after, bottom + after
    _fill(image, x0, y0, x1, top + after, color)
    _fill(image, x0, bottom - before, x1, y1, color)
    _fill(image, x0, y0, left + after, y1, color)
    _fill(image, right - before, y0, x1, y1, color)


def _fill(image: np.ndarray, x0: int, y0: int, x1: int, y1: int, color: Color) -> None:
    image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = color


def draw_rotated_box(
    image: np.ndarray, box: Sequence[float] | np.ndarray, color: Color, thickness: int
) -> None:
    """Draw the border of a (cx, cy, w, h, degrees) box; its own top edge is twice as thick."""
    corners = rotated_corners(box)
    _polygon(image, corners, color, thickness)
    _line(image, corners[0], corners[1], color, 2 * thickness)


def rotated_corners(box: Sequence[float] | np.ndarray) -> np.ndarray:
    """Corners (4, 2) in the order left top, right top, right bottom, left bottom of the box itself.

    The angle is in degrees, counter-clockwise as seen on the screen (y points down).
    """
    cx, cy, width, height, degrees = box
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    x = np.array([-width, width, width, -width]) / 2
    y = np.array([-height, -height, height, height]) / 2
    return np.stack([cx + cos * x + sin * y, cy - sin * x + cos * y], axis=1)


def draw_keypoints(
    image: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    limbs: Sequence[tuple[int, int, Color]],
    colors: Sequence[Color],
    thickness: int,
) -> None:
    """Draw one object's keypoints.

    Args:
        image: Drawn on in place.
        points: (K, 2) x, y in pixels.
        shown: (K,) bool; a limb needs both of its ends.
        limbs: Pairs of point numbers with the colour of the line between them.
        colors: One per point.
        thickness: Of the limbs, in pixels.
    """
    for start, end, color in limbs:
        if shown[start] and shown[end]:
            _line(image, points[start], points[end], color, thickness)
    for k in np.flatnonzero(shown).tolist():
        center, color = _fixed_point(points[k]).tolist(), colors[k]
        radius = thickness + 1 << SHIFT
        cv2.circle(image, center, radius + (1 << SHIFT), (255, 255, 255), -1, cv2.LINE_AA, SHIFT)
        cv2.circle(image, center, radius, color, -1, cv2.LINE_AA, SHIFT)


def _polygon(image: np.ndarray, corners: np.ndarray, color: Color, thickness: int) -> None:
    points = _fixed_point(corners).reshape(-1, 1, 2)
    cv2.polylines(image, [points], True, color, thickness, cv2.LINE_AA, SHIFT)


def _line(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color, thickness: int
) -> None:
    first, second = _fixed_point(np.stack([start, end])).tolist()
    cv2.line(image, first, second, color, thickness, cv2.LINE_AA, SHIFT)


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """Continuous pixels to OpenCV's fixed-point pixel centres; the points must be finite."""
    centers = np.clip(points, -FARTHEST, FARTHEST) - 0.5
    return np.round(centers * (1 << SHIFT)).astype(np.int32)
