"""Resizing: the transform, and the augmentation that chooses the size of the short edge."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from attrs import field, frozen
from attrs.validators import deep_iterable, ge, in_, min_len
from PIL import Image

from okulo_transforms.augmentation import Augmentation
from okulo_transforms.transform import Array, NoOpTransform, Transform, as_float

__all__ = ["ResizeShortestEdge", "ResizeShortestEdgeConfig", "ResizeTransform"]

BILINEAR = int(Image.Resampling.BILINEAR)
_TORCH_MODES = {
    int(Image.Resampling.NEAREST): "nearest",
    BILINEAR: "bilinear",
    int(Image.Resampling.BICUBIC): "bicubic",
}


@frozen(repr=False)
class ResizeTransform(Transform):
    """Resize an image of (h, w) to (new_h, new_w).

    uint8 images go through Pillow, which averages when it shrinks; other types are interpolated by
    PyTorch with half-pixel centres and without that averaging. Labels take the nearest value.
    ``interp`` is a code of Pillow's ``Image.Resampling``; None means bilinear.
    """

    h: int
    w: int
    new_h: int
    new_w: int
    interp: int | None = None

    def apply_image(self, img: Array, interp: int | None = None) -> Array:
        """Resize (h, w) or (h, w, C) pixels; ``interp`` overrides the transform's own."""
        self._check(img)
        code = next(c for c in (interp, self.interp, BILINEAR) if c is not None)
        if img.shape[:2] == (self.new_h, self.new_w):
            return img.copy()
        return self._by_pillow(img, code) if img.dtype == np.uint8 else self._by_torch(img, code)

    def apply_segmentation(self, segmentation: Array) -> Array:
        self._check(segmentation)
        rows = _nearest(self.h, self.new_h)
        columns = _nearest(self.w, self.new_w)
        return segmentation[rows[:, None], columns]

    def apply_coords(self, coords: Array) -> Array:
        coords = as_float(coords)
        coords[..., 0] *= self.new_w / self.w
        coords[..., 1] *= self.new_h / self.h
        return coords

    def apply_rotated_box(self, rotated_boxes: Array) -> Array:
        """Transform (N, 5) boxes (cx, cy, w, h, degrees counter-clockwise).

        Scaling the axes differently turns a rotated rectangle into a parallelogram; the result is
        the rectangle with the lengths of its sides and the direction of its height.
        """
        boxes = as_float(rotated_boxes)
        scale_x, scale_y = self.new_w / self.w, self.new_h / self.h
        theta = np.deg2rad(boxes[:, 4])
        sin, cos = np.sin(theta), np.cos(theta)
        boxes[:, 0] *= scale_x
        boxes[:, 1] *= scale_y
        boxes[:, 2] *= np.hypot(scale_x * cos, scale_y * sin)
        boxes[:, 3] *= np.hypot(scale_x * sin, scale_y * cos)
        boxes[:, 4] = np.rad2deg(np.arctan2(scale_x * sin, scale_y * cos))
        return boxes

    def inverse(self) -> ResizeTransform:
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)

    def _check(self, img: Array) -> None:
        if img.ndim not in {2, 3} or img.shape[:2] != (self.h, self.w):
            raise ValueError(
                f"this ResizeTransform takes images of shape ({self.h}, {self.w}) or "
                f"({self.h}, {self.w}, C), got {img.shape}"
            )

    def _by_pillow(self, img: Array, code: int) -> Array:
        if img.ndim == 3 and img.shape[2] != 3:  # Pillow would take 4 channels for alpha
            channels = [self._by_pillow(img[:, :, c], code) for c in range(img.shape[2])]
            return np.stack(channels, axis=2)
        size = (self.new_w, self.new_h)
        resized = Image.fromarray(img).resize(size, Image.Resampling(code))
        return np.asarray(resized)

    def _by_torch(self, img: Array, code: int) -> Array:
        if not np.issubdtype(img.dtype, np.floating):
            raise TypeError(
                f"images must be uint8 or floating point to be resized, got {img.dtype}; "
                "use apply_segmentation for labels"
            )
        if code not in _TORCH_MODES:
            raise ValueError(
                f"images of {img.dtype} resize with interp in {sorted(_TORCH_MODES)} (nearest, "
                f"bilinear, bicubic), got {code}; convert the image to uint8 for the others"
            )
        mode = _TORCH_MODES[code]
        tensor = torch.from_numpy(np.ascontiguousarray(img)).reshape(1, self.h, self.w, -1)
        options: dict[str, Any] = {} if mode == "nearest" else {"align_corners": False}
        resized = F.interpolate(
            tensor.permute(0, 3, 1, 2), (self.new_h, self.new_w), mode=mode, **options
        )
        return resized[0].permute(1, 2, 0).reshape(self.new_h, self.new_w, *img.shape[2:]).numpy()


class ResizeShortestEdge(Augmentation):
    """Resize so that the short edge has a drawn length and the long edge at most ``max_size``."""

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: int = sys.maxsize,
        sample_style: Literal["range", "choice"] = "range",
        interp: int = BILINEAR,
    ) -> None:
        """
        Args:
            short_edge_length: Pixels; for ``"range"`` a number or [min, max], both included, for
                ``"choice"`` a number or a list. 0 leaves the image as it is.
            max_size: Longest allowed edge in pixels; both edges shrink together to keep it.
            sample_style: How a length is drawn.
            interp: Code of Pillow's ``Image.Resampling``.
        """
        if sample_style not in {"range", "choice"}:
            raise ValueError(f"sample_style must be 'range' or 'choice', got {sample_style!r}")
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        if sample_style == "range" and len(short_edge_length) != 2:
            raise ValueError(
                "short_edge_length must be [min, max] for sample_style='range', "
                f"got {list(short_edge_length)}; use sample_style='choice' for a list of lengths"
            )
        if not short_edge_length:
            raise ValueError("short_edge_length must hold at least one length, got none")
        self.short_edge_length = short_edge_length
        self.max_size = max_size
        self.sample_style = sample_style
        self.interp = interp

    def get_transform(self, image: Array, rng: np.random.Generator) -> Transform:
        height, width = image.shape[:2]
        if self.sample_style == "range":
            low, high = self.short_edge_length
            length = int(rng.integers(low, high, endpoint=True))
        else:
            length = int(rng.choice(np.asarray(self.short_edge_length)))
        if length == 0:
            return NoOpTransform()
        new_height, new_width = self.get_output_shape(height, width, length, self.max_size)
        return ResizeTransform(height, width, new_height, new_width, self.interp)

    @staticmethod
    def get_output_shape(
        height: int, width: int, short_edge_length: int, max_size: int
    ) -> tuple[int, int]:
        """Height and width after resizing, each rounded half up and at least 1 pixel."""
        scale = short_edge_length / min(height, width)
        new_height = float(short_edge_length) if height < width else scale * height
        new_width = scale * width if height < width else float(short_edge_length)
        if max(new_height, new_width) > max_size:
            shrink = max_size / max(new_height, new_width)
            new_height, new_width = new_height * shrink, new_width * shrink
        return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


@frozen(kw_only=True)
class ResizeShortestEdgeConfig:
    """Settings of :class:`ResizeShortestEdge`; the defaults are detectron2's."""

    short_edge_length: tuple[int, ...] = field(
        default=(800,), validator=[min_len(1), deep_iterable(ge(0))]
    )
    max_size: int = field(default=1333, validator=ge(1))
    sample_style: Literal["range", "choice"] = field(
        default="choice", validator=in_(("range", "choice"))
    )

    def build(self) -> ResizeShortestEdge:
        return ResizeShortestEdge(self.short_edge_length, self.max_size, self.sample_style)


def _nearest(old: int, new: int) -> Array:
    """Index of the source pixel below the centre of each target pixel; on a border the further."""
    return (2 * np.arange(new) + 1) * old // (2 * new)
