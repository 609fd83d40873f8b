"""The figures: their outlines, key points and where a rotation takes them.

Frame of a figure: x right, y down, its tip at the top; a figure of radius 1 lies about the unit
circle before it is stretched.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["CLASSES", "HUES", "KEYPOINTS", "Figure"]

Points = NDArray[np.float64]


def _ring(count: int, radius: float = 1.0, start: float = 0.0) -> Points:
    """Points of a regular polygon, the first at ``start`` turns clockwise from the top."""
    turn = 2 * np.pi * (np.arange(count) / count + start)
    return radius * np.stack([np.sin(turn), -np.cos(turn)], axis=1)


_STAR = np.stack([_ring(5), _ring(5, radius=0.46, start=0.1)], axis=1).reshape(10, 2)
_ARM = 0.34  # half the width of a cross's arms
_CROSS = np.array(
    [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ]
)  # fmt: skip
_SIDE = 0.82  # half the side of a square

_OUTLINES: dict[str, Points] = {
    "circle": _ring(48),
    "square": _SIDE * np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    "triangle": _ring(3),
    "star": _STAR,
    "cross": _CROSS,
}
CLASSES = tuple(_OUTLINES)
# The hue around which a class is coloured, in turns: a hint to its form that is not always right.
HUES = (0.01, 0.61, 0.37, 0.12, 0.77)

KEYPOINTS = ("tip", "left", "right", "base", "center")
_KEYPOINTS: dict[str, Points] = {
    "circle": np.array([(0, -1), (-1, 0), (1, 0), (0, 1), (0, 0)], dtype=float),
    "square": _SIDE * np.array([(0, -1), (-1, 0), (1, 0), (0, 1), (0, 0)]),
    "triangle": np.array([(0, -1), _ring(3)[2], _ring(3)[1], (0, 0.5), (0, 0)]),
    "star": np.array([(0, -1), _STAR[8], _STAR[2], _STAR[5], (0, 0)]),
    "cross": np.array([(0, -1), (-1, 0), (1, 0), (0, 1), (0, 0)], dtype=float),
}


@frozen(kw_only=True)
class Figure:
    """One figure in an image."""

    label: int
    """Index into :data:`CLASSES`."""
    center: tuple[float, float]
    """x and y, pixels."""
    radius: float
    """Pixels."""
    stretch: float
    """Width over height of the figure's frame."""
    angle: float
    """Degrees counter-clockwise, in [-180, 180)."""

    def outline(self) -> Points:
        """(P, 2) corners in pixels."""
        return self.place(_OUTLINES[CLASSES[self.label]])

    def keypoints(self, inset: float = 0.0) -> Points:
        """(5, 2) key points in pixels, in the order of :data:`KEYPOINTS`.

        ``inset`` moves them towards the centre by that share of their distance.
        """
        return self.place((1 - inset) * _KEYPOINTS[CLASSES[self.label]])

    def axes(self) -> Points:
        """(2, 2) unit vectors along the figure's width (x) and height (y), in pixels."""
        theta = np.deg2rad(self.angle)
        return np.array([(np.cos(theta), -np.sin(theta)), (np.sin(theta), np.cos(theta))])

    def place(self, points: Points) -> Points:
        """Bring (P, 2) points of the figure's frame into the image."""
        size = self.radius * np.array([np.sqrt(self.stretch), 1 / np.sqrt(self.stretch)])
        return (points * size) @ self.axes() + self.center
