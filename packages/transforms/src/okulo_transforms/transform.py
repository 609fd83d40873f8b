"""Deterministic transforms of an image together with what is drawn on it.

A new transform subclasses :class:`Transform`; random choices belong to augmentations, which return
transforms.
"""

from __future__ import annotations

import inspect
import pprint
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["NoOpTransform", "Transform", "TransformList"]

Array = NDArray[Any]


class Transform(ABC):
    """One operation whose result depends on its arguments alone.

    Every ``apply_<type>`` takes data of one type and returns new data; arguments are never changed.
    Images are (H, W), (H, W, C) or (N, H, W, C), uint8 or floating point. Coordinates are
    continuous pixels, so points of an image lie in [0, W] x [0, H]; points outside are transformed
    by the same rule and nothing is clipped. Integer coordinates become float64.
    """

    @abstractmethod
    def apply_image(self, img: Array) -> Array:
        """Transform pixels."""

    @abstractmethod
    def apply_coords(self, coords: Array) -> Array:
        """Transform (N, 2) points (x, y)."""

    def apply_segmentation(self, segmentation: Array) -> Array:
        """Transform an (H, W) map of labels (integer or bool) without mixing them."""
        return self.apply_image(segmentation)

    def apply_box(self, box: Array) -> Array:
        """Transform (N, 4) boxes XYXY: the tight boxes around the four transformed corners."""
        corners = as_float(box).reshape(-1, 4)[:, [0, 1, 2, 1, 0, 3, 2, 3]]
        moved = self.apply_coords(corners.reshape(-1, 2)).reshape(-1, 4, 2)
        return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)

    def apply_polygons(self, polygons: Sequence[Array]) -> list[Array]:
        """Transform polygons, each (N, 2); their number changes only where a subclass says so."""
        return [self.apply_coords(polygon) for polygon in polygons]

    def inverse(self) -> Transform:
        """The transform that undoes the geometry of this one; photometric ones give a no-op."""
        raise NotImplementedError(f"{type(self).__name__} cannot be undone")

    def __repr__(self) -> str:
        return signature_repr(self)


@frozen(repr=False)
class NoOpTransform(Transform):
    """Returns whatever it is given, for every ``apply_<type>``."""

    def apply_image(self, img: Array) -> Array:
        return img

    def apply_coords(self, coords: Array) -> Array:
        return coords

    def apply_box(self, box: Array) -> Array:
        return box

    def inverse(self) -> NoOpTransform:
        return self

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        if name.startswith("apply_"):
            return lambda data: data
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


class TransformList(Transform):
    """Transforms applied one after another; lists within the list are flattened.

    ``apply_<type>`` works for every type that all members know; a member that lacks it raises
    AttributeError when called.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        self.transforms: list[Transform] = []
        for transform in transforms:
            if not isinstance(transform, Transform):
                raise TypeError(
                    f"TransformList takes Transform objects, got {type(transform).__name__}"
                )
            flat = transform.transforms if isinstance(transform, TransformList) else [transform]
            self.transforms += flat

    def apply_image(self, img: Array) -> Array:
        return self._apply("apply_image", img)

    def apply_coords(self, coords: Array) -> Array:
        return self._apply("apply_coords", coords)

    def apply_segmentation(self, segmentation: Array) -> Array:
        return self._apply("apply_segmentation", segmentation)

    def apply_box(self, box: Array) -> Array:
        return self._apply("apply_box", box)

    def apply_polygons(self, polygons: Sequence[Array]) -> list[Array]:
        return self._apply("apply_polygons", list(polygons))

    def inverse(self) -> TransformList:
        """The inverses of the members, last one first."""
        return TransformList(transform.inverse() for transform in reversed(self.transforms))

    def _apply(self, method: str, data: Any) -> Any:
        for transform in self.transforms:
            data = getattr(transform, method)(data)
        return data

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        if name.startswith("apply_"):
            return lambda data: self._apply(name, data)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __add__(self, other: Transform) -> TransformList:
        return TransformList([self, other])

    def __radd__(self, other: Transform) -> TransformList:
        return TransformList([other, self])

    def __len__(self) -> int:
        return len(self.transforms)

    def __getitem__(self, index: int) -> Transform:
        return self.transforms[index]

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)

    def __repr__(self) -> str:
        return f"TransformList[{', '.join(map(repr, self.transforms))}]"


def as_float(array: Any) -> Array:
    """A new floating point array: the dtype is kept if it is one, else float64."""
    array = np.array(array)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def signature_repr(instance: object) -> str:
    """``Name(arg=value)`` from the constructor's arguments, without those left at their default."""
    shown = []
    try:
        for name, parameter in inspect.signature(type(instance)).parameters.items():
            value = getattr(instance, name)
            if value is not parameter.default:
                text = pprint.pformat(value)
                shown.append(f"{name}={'...' if chr(10) in text else text}")
    except AttributeError:  # an argument that is not kept under its own name
        return object.__repr__(instance)
    return f"{type(instance).__name__}({', '.join(shown)})"
