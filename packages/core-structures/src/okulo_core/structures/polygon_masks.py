"""Masks as polygons, and how polygons become pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from pycocotools import mask as coco_mask
from torch import Tensor

from okulo_core.structures.boxes import Boxes, check_list_of

__all__ = ["PolygonMasks", "polygon_area", "polygons_to_bitmask", "rasterize_polygons_within_box"]


class PolygonMasks:
    """The masks of N instances of one image, each the union of polygons.

    They live on the CPU in float64, wherever the rest of the model is.

    Attributes:
        polygons: For each instance a list of flat arrays [x0, y0, x1, y1, ...] in pixels.
    """

    def __init__(self, polygons: list[list[Any]]) -> None:
        """Take polygons.

        Args:
            polygons: For each instance a list of polygons, each a flat list, array or tensor of
                three or more points. An instance without polygons is empty.

        Raises:
            ValueError: Lists nested otherwise, or a polygon with an odd count of numbers or fewer
                than three points.
        """
        if not isinstance(polygons, list):
            raise ValueError(f"polygons must be a list of instances, got {type(polygons).__name__}")
        self.polygons = [_as_polygons(index, each) for index, each in enumerate(polygons)]

    @property
    def device(self) -> torch.device:
        """Always the CPU."""
        return torch.device("cpu")

    def to(self, *args: Any, **kwargs: Any) -> PolygonMasks:
        """Return this object: polygons stay on the CPU."""
        return self

    def __len__(self) -> int:
        return len(self.polygons)

    def __repr__(self) -> str:
        return f"PolygonMasks(num_instances={len(self)})"

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Yield the polygons of each instance."""
        return iter(self.polygons)

    def __getitem__(self, item: int | slice | list[int] | Tensor) -> PolygonMasks:
        """Select instances by an int (one instance), a slice, a bool mask (N,), or indices."""
        if isinstance(item, int):
            return PolygonMasks([self.polygons[item]])
        if isinstance(item, slice):
            return PolygonMasks(self.polygons[item])
        return PolygonMasks([self.polygons[index] for index in self._indices(item)])

    def _indices(self, item: list[int] | np.ndarray | Tensor) -> list[int]:
        if len(item) == 0 and isinstance(item, list):
            return []
        index = torch.as_tensor(item)
        if index.ndim != 1 or index.dtype not in (torch.bool, torch.int32, torch.int64):
            raise ValueError(
                "PolygonMasks are indexed by an int, a slice, or a vector of bool, int32 or int64, "
                f"got shape {tuple(index.shape)} and {index.dtype}"
            )
        if index.dtype != torch.bool:
            return index.tolist()
        if len(index) != len(self):
            raise ValueError(f"a mask over {len(self)} instances must be as long, got {len(index)}")
        return index.nonzero()[:, 0].tolist()

    def area(self) -> Tensor:
        """float64 (N,), square pixels: sum over the polygons, so what two share counts twice."""
        areas = [sum(polygon_area(p[0::2], p[1::2]) for p in each) for each in self.polygons]
        return torch.tensor(areas, dtype=torch.float64)

    def nonempty(self) -> Tensor:
        """bool (N,): the instance has a polygon."""
        return torch.tensor([len(each) > 0 for each in self.polygons], dtype=torch.bool)

    def get_bounding_boxes(self) -> Boxes:
        """The smallest boxes around the points; (0, 0, 0, 0) for an instance without polygons."""
        rows = np.zeros((len(self), 4))
        for row, polygons in zip(rows, self.polygons, strict=True):
            if polygons:
                points = np.concatenate(polygons).reshape(-1, 2)
                row[:2], row[2:] = points.min(axis=0), points.max(axis=0)
        return Boxes(torch.from_numpy(rows))

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Draw each mask as seen through its box, e.g. as a mask head's target.

        Args:
            boxes: (N, 4), x0, y0, x1, y1 in pixels, one for each instance.
            mask_size: Side of the drawn masks, in cells.

        Returns:
            bool (N, mask_size, mask_size) on the device of ``boxes``.
        """
        if tuple(boxes.shape) != (len(self), 4):
            raise ValueError(f"boxes must have shape ({len(self)}, 4), got {tuple(boxes.shape)}")
        if len(self) == 0:
            return torch.zeros(0, mask_size, mask_size, dtype=torch.bool, device=boxes.device)
        pairs = zip(self.polygons, boxes.detach().cpu().double().numpy(), strict=True)
        masks = [rasterize_polygons_within_box(each, box, mask_size) for each, box in pairs]
        return torch.stack(masks).to(boxes.device)

    @staticmethod
    def cat(polymasks_list: Sequence[PolygonMasks]) -> PolygonMasks:
        """Concatenate the instances of one or more objects."""
        check_list_of(PolygonMasks, polymasks_list)
        if len(polymasks_list) == 0:
            raise ValueError("PolygonMasks.cat needs at least one element, got none")
        return PolygonMasks([each for masks in polymasks_list for each in masks.polygons])


def polygon_area(x: ArrayLike, y: ArrayLike) -> float:
    """Area of the polygon through (x[i], y[i]), by the shoelace formula; never negative."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return float(0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def polygons_to_bitmask(polygons: Sequence[ArrayLike], height: int, width: int) -> np.ndarray:
    """Draw the union of polygons by COCO's rule.

    Args:
        polygons: Flat [x0, y0, x1, y1, ...] in pixels, each of three or more points.
        height: Of the mask, in pixels.
        width: Of the mask, in pixels.

    Returns:
        bool (height, width); nothing set if there are no polygons.
    """
    if len(polygons) == 0:
        return np.zeros((height, width), dtype=bool)
    flat = [_as_polygon(polygon) for polygon in polygons]
    if not all(np.isfinite(polygon).all() for polygon in flat):
        raise ValueError("polygons must be finite to be drawn, got NaN or infinity")
    codes = coco_mask.frPyObjects(flat, height, width)
    return coco_mask.decode(coco_mask.merge(codes)).astype(bool)


def rasterize_polygons_within_box(
    polygons: Sequence[ArrayLike], box: ArrayLike, mask_size: int
) -> Tensor:
    """Draw polygons as seen through a box.

    Args:
        polygons: Flat [x0, y0, x1, y1, ...] in pixels; not changed.
        box: x0, y0, x1, y1 in pixels; a side below 0.1 counts as 0.1.
        mask_size: Side of the drawn mask, in cells.

    Returns:
        bool (mask_size, mask_size).
    """
    box = np.asarray(box, dtype=np.float64)
    origin, scale = box[:2], mask_size / np.maximum(box[2:] - box[:2], 0.1)
    seen = [((_as_polygon(p).reshape(-1, 2) - origin) * scale).ravel() for p in polygons]
    return torch.from_numpy(polygons_to_bitmask(seen, mask_size, mask_size))


def _as_polygons(index: int, polygons: object) -> list[np.ndarray]:
    if not isinstance(polygons, list):
        raise ValueError(
            "each instance must be a list of polygons, "
            f"got {type(polygons).__name__} for instance {index}"
        )
    return [_as_polygon(polygon, f"instance {index}: ") for polygon in polygons]


def _as_polygon(polygon: Any, where: str = "") -> np.ndarray:
    if isinstance(polygon, Tensor):
        polygon = polygon.detach().cpu().numpy()
    flat = np.asarray(polygon, dtype=np.float64)
    if flat.ndim != 1 or len(flat) % 2 != 0 or len(flat) < 6:
        raise ValueError(
            f"{where}a polygon is a flat [x0, y0, x1, y1, ...] of at least 3 points, "
            f"got shape {flat.shape}"
        )
    return flat
