"""What is known of the N instances of one image, as named fields of length N."""

from __future__ import annotations

import itertools
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

__all__ = ["Instances"]


class Instances:
    """A table: one row per instance, one named field per column.

    A field is anything with a length: tensor, list, :class:`Boxes`, masks, keypoints. Fields are
    read and set as attributes; names that start with an underscore are no fields.
    """

    def __init__(self, image_size: tuple[int, int], **fields: Any) -> None:
        """Start a table.

        Args:
            image_size: Height and width of the image, in pixels.
            **fields: The first fields, all of one length.
        """
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in fields.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        return self._image_size

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self.set(name, value)

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling look for names before _fields is set.
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        """Set a field, whose length must be that of the fields there are."""
        if name == "image_size":
            raise AttributeError("image_size is fixed; make a new Instances for another image")
        length = len(value)
        if self._fields and length != len(self):
            raise ValueError(
                f"field '{name}' must have {len(self)} rows as the other fields, got {length}"
            )
        self._fields[name] = value

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        return name in self._fields

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def remove(self, name: str) -> None:
        """Remove a field; KeyError if there is none of this name."""
        del self._fields[name]

    def get(self, name: str) -> Any:
        """Return a field; KeyError if there is none of this name."""
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """The fields themselves, not a copy; do not change their lengths."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> Instances:
        """New Instances with ``field.to(...)`` where a field has it; the others as they are."""
        moved = Instances(self._image_size)
        for name, value in self._fields.items():
            moved.set(name, value.to(*args, **kwargs) if hasattr(value, "to") else value)
        return moved

    def __getitem__(self, item: int | slice | Tensor | str) -> Any:
        """Select rows of every field, or, by a string, return that field.

        An int, which may be negative, gives Instances of length 1; IndexError outside [-N, N).
        """
        if isinstance(item, str):
            return self.get(item)
        if isinstance(item, int | np.integer):
            item = self._row(int(item))
        selected = Instances(self._image_size)
        for name, value in self._fields.items():
            selected.set(name, _select(value, item))
        return selected

    def _row(self, index: int) -> slice:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"expected an index in [{-count}, {count}), got {index}")
        start = index % count
        return slice(start, start + 1)

    def __len__(self) -> int:
        for value in self._fields.values():
            return len(value)
        raise NotImplementedError("Instances without any field have no length")

    def __iter__(self) -> NoReturn:
        raise NotImplementedError("Instances are not iterable; index them, or iterate over a field")

    @staticmethod
    def cat(instance_lists: list[Instances]) -> Instances:
        """Concatenate the rows of several Instances of one image.

        Args:
            instance_lists: One or more, of equal ``image_size``; a single one is returned itself.

        Returns:
            Instances with the fields of the first. KeyError if a later one lacks a field; fields
            that only later ones have are dropped.
        """
        if not isinstance(instance_lists, list | tuple) or len(instance_lists) == 0:
            raise ValueError(f"expected a list of at least one Instances, got {instance_lists!r}")
        for each in instance_lists:
            if not isinstance(each, Instances):
                raise TypeError(f"Instances.cat needs Instances only, got {type(each).__name__}")
        first = instance_lists[0]
        if len(instance_lists) == 1:
            return first
        if not isinstance(first.image_size, Tensor):
            for each in instance_lists[1:]:
                if each.image_size != first.image_size:
                    raise ValueError(
                        "expected Instances of one image_size, "
                        f"got {first.image_size} and {each.image_size}"
                    )
        joined = Instances(first.image_size)
        for name in first.get_fields():
            joined.set(name, _concatenated(name, [each.get(name) for each in instance_lists]))
        return joined

    def __str__(self) -> str:
        fields = ", ".join(f"{name}: {value}" for name, value in self._fields.items())
        height, width = self._image_size
        count = len(self) if self._fields else 0
        return (
            f"Instances(num_instances={count}, image_height={height}, image_width={width}, "
            f"fields=[{fields}])"
        )

    __repr__ = __str__


def _select(value: Any, item: Any) -> Any:
    """Index a field, also a list by a mask or a vector of indices, as a tensor would be."""
    if not isinstance(value, list | tuple) or isinstance(item, slice):
        return value[item]
    index = torch.as_tensor(item)
    chosen = index.nonzero()[:, 0] if index.dtype == torch.bool else index
    return type(value)(value[i] for i in chosen.tolist())


def _concatenated(name: str, values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values, dim=0)
    if isinstance(first, list):
        return list(itertools.chain.from_iterable(values))
    if hasattr(type(first), "cat"):
        return type(first).cat(values)
    raise ValueError(
        f"field '{name}' cannot be concatenated: {type(first).__name__} is neither a tensor nor a "
        "list, and has no class method cat"
    )
