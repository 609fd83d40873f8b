"""Rotated boxes of one image."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from okulo_core.structures.boxes import Boxes, corners_inside

__all__ = ["RotatedBoxes"]


class RotatedBoxes(Boxes):
    """N boxes turned about their centres.

    The angle is in degrees and counter-clockwise as seen in the image, where y points down: the
    point (x, y) of the upright box goes to

        x' = cx + cos(a) (x - cx) + sin(a) (y - cy)
        y' = cy - sin(a) (x - cx) + cos(a) (y - cy)

    Turning by 360 degrees changes nothing; turning by 180 degrees covers the same region but is
    pooled upside down. :meth:`clip`, :meth:`scale` and :meth:`normalize_angles` work in place.

    Attributes:
        tensor: float32 (N, 5): centre x, centre y, width, height in pixels, angle in degrees.
    """

    _COLUMNS: ClassVar[int] = 5

    def corners(self) -> Tensor:
        """The corners that are top left, top right, bottom right and bottom left at angle 0.

        Returns:
            (N, 4, 2): x, y in pixels.
        """
        unit = self.tensor.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
        x, y = (unit * self.tensor[:, None, 2:4]).unbind(dim=2)
        cos, sin = self._cos_sin()
        turned = (cos[:, None] * x + sin[:, None] * y, cos[:, None] * y - sin[:, None] * x)
        return self.tensor[:, None, :2] + torch.stack(turned, dim=2)

    def area(self) -> Tensor:
        """Area in square pixels, (N,)."""
        return self.tensor[:, 2] * self.tensor[:, 3]

    def get_centers(self) -> Tensor:
        """Centres (x, y), (N, 2)."""
        return self.tensor[:, :2]

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """bool (N,): both sides are longer than ``threshold`` pixels."""
        return (self.tensor[:, 2:4] > threshold).all(dim=1)

    def normalize_angles(self) -> None:
        """Bring angles to [-180, 180), in place."""
        self.tensor[:, 4] = (self.tensor[:, 4] + 180.0) % 360.0 - 180.0

    def clip(self, box_size: tuple[int, int], clip_angle_threshold: float = 1.0) -> None:
        """Cut the boxes that are nearly horizontal to an image, and normalise all angles, in place.

        Those are cut as if their angle were 0; a side never grows, and the angle stays. A box
        turned further is left alone: what remains of it would be no box.

        Args:
            box_size: Height and width.
            clip_angle_threshold: Largest absolute angle, in degrees, that is cut.
        """
        self.normalize_angles()
        flat = self.tensor[:, 4].abs() <= clip_angle_threshold
        center, sides = self.tensor[flat, :2], self.tensor[flat, 2:4]
        height, width = box_size
        limit = self.tensor.new_tensor([width, height])
        low = (center - sides / 2).clamp(min=0).minimum(limit)
        high = (center + sides / 2).clamp(min=0).minimum(limit)
        self.tensor[flat, :2] = (low + high) / 2
        self.tensor[flat, 2:4] = torch.minimum(sides, high - low)

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: float = 0) -> Tensor:
        """bool (N,): the horizontal hull is inside, by the rule of :meth:`Boxes.inside_box`."""
        cos, sin = (value.abs() for value in self._cos_sin())
        center, (width, height) = self.tensor[:, :2], self.tensor[:, 2:4].unbind(dim=1)
        half = torch.stack((cos * width + sin * height, cos * height + sin * width), dim=1) / 2
        corners = torch.cat((center - half, center + half), dim=1)
        return corners_inside(corners, box_size, boundary_threshold)

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply x and y coordinates, in place.

        Exact if both factors are equal or the angle is a multiple of 90 degrees; otherwise a turned
        box becomes a parallelogram, and this keeps the lengths of its sides and the direction of
        its height.
        """
        cos, sin = self._cos_sin()
        self.tensor[:, 0] *= scale_x
        self.tensor[:, 1] *= scale_y
        self.tensor[:, 2] *= torch.hypot(scale_x * cos, scale_y * sin)
        self.tensor[:, 3] *= torch.hypot(scale_x * sin, scale_y * cos)
        self.tensor[:, 4] = torch.rad2deg(torch.atan2(scale_x * sin, scale_y * cos))

    def _cos_sin(self) -> tuple[Tensor, Tensor]:
        radians = torch.deg2rad(self.tensor[:, 4])
        return radians.cos(), radians.sin()
