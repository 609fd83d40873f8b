"""Mirroring: the transforms, and the augmentation that chooses them at random."""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from attrs.validators import and_, ge, le

from okulo_transforms.augmentation import Augmentation
from okulo_transforms.transform import Array, NoOpTransform, Transform, as_float

__all__ = ["HFlipTransform", "RandomFlip", "RandomFlipConfig", "VFlipTransform"]


@frozen(repr=False)
class HFlipTransform(Transform):
    """Mirror left and right: x becomes ``width - x``."""

    width: float  # pixels

    def apply_image(self, img: Array) -> Array:
        return np.flip(img, axis=1 if img.ndim <= 3 else -2)

    def apply_coords(self, coords: Array) -> Array:
        coords = as_float(coords)
        coords[..., 0] = self.width - coords[..., 0]
        return coords

    def apply_rotated_box(self, rotated_boxes: Array) -> Array:
        """Transform (N, 5) boxes (cx, cy, w, h, degrees counter-clockwise)."""
        boxes = as_float(rotated_boxes)
        boxes[:, 0] = self.width - boxes[:, 0]
        boxes[:, 4] = -boxes[:, 4]
        return boxes

    def inverse(self) -> HFlipTransform:
        return self


@frozen(repr=False)
class VFlipTransform(Transform):
    """Mirror top and bottom: y becomes ``height - y``."""

    height: float  # pixels

    def apply_image(self, img: Array) -> Array:
        return np.flip(img, axis=0 if img.ndim <= 3 else -3)

    def apply_coords(self, coords: Array) -> Array:
        coords = as_float(coords)
        coords[..., 1] = self.height - coords[..., 1]
        return coords

    def apply_rotated_box(self, rotated_boxes: Array) -> Array:
        """Transform (N, 5) boxes (cx, cy, w, h, degrees counter-clockwise)."""
        boxes = as_float(rotated_boxes)
        boxes[:, 1] = self.height - boxes[:, 1]
        boxes[:, 4] = -boxes[:, 4]
        return boxes

    def inverse(self) -> VFlipTransform:
        return self


class RandomFlip(Augmentation):
    """Mirror with a probability; for both directions put two of these in a list."""

    def __init__(
        self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False
    ) -> None:
        if horizontal == vertical:
            raise ValueError(
                "RandomFlip mirrors in one direction: exactly one of horizontal and vertical must "
                f"be true, got horizontal={horizontal}, vertical={vertical}; use two RandomFlip "
                "for both"
            )
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in [0, 1], got {prob}")
        self.prob = prob
        self.horizontal = horizontal
        self.vertical = vertical

    def get_transform(self, image: Array, rng: np.random.Generator) -> Transform:
        if rng.random() >= self.prob:
            return NoOpTransform()
        height, width = image.shape[:2]
        return HFlipTransform(width) if self.horizontal else VFlipTransform(height)


@frozen(kw_only=True)
class RandomFlipConfig:
    """Settings of :class:`RandomFlip`."""

    prob: float = field(default=0.5, validator=and_(ge(0.0), le(1.0)))
    horizontal: bool = True
    vertical: bool = False

    def build(self) -> RandomFlip:
        return RandomFlip(self.prob, horizontal=self.horizontal, vertical=self.vertical)
