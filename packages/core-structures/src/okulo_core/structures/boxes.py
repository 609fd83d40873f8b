"""Axis-aligned boxes of one image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

__all__ = ["Boxes"]


class Boxes:
    """N axis-aligned boxes.

    Coordinates are continuous pixels: (0, 0) is the outer corner of the top-left pixel, so the box
    of an H x W image is (0, 0, W, H) and a box's width is x1 - x0. :meth:`clip` and :meth:`scale`
    work in place.

    Attributes:
        tensor: float32 (N, 4): x0, y0, x1, y1.
    """

    _COLUMNS: ClassVar[int] = 4

    def __init__(self, tensor: Tensor | Any) -> None:
        """Take the numbers of N boxes.

        Args:
            tensor: A tensor, kept on its device and cast to float32 (shared where it is float32
                already), or anything ``torch.as_tensor`` takes. No numbers at all, in whatever
                shape, are no boxes.
        """
        if not isinstance(tensor, Tensor):
            tensor = torch.as_tensor(tensor, dtype=torch.float32, device="cpu")
        tensor = tensor.to(torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape(0, self._COLUMNS)
        if tensor.ndim != 2 or tensor.shape[1] != self._COLUMNS:
            raise ValueError(
                f"{type(self).__name__} need shape (N, {self._COLUMNS}), "
                f"got {tuple(tensor.shape)}; one box is a matrix of one row"
            )
        self.tensor = tensor

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.tensor})"

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the numbers of each box, a vector."""
        yield from self.tensor

    def __getitem__(self, item: int | slice | Tensor) -> Self:
        """Select boxes by an int (one row), a slice, a bool mask (N,) or a vector of indices.

        The result may share memory with this object, as indexing a tensor does.
        """
        selected = self.tensor[item]
        if isinstance(item, int):
            selected = selected[None]
        if selected.ndim != 2 or selected.shape[1] != self._COLUMNS:
            raise ValueError(
                f"indexing {type(self).__name__} must give shape (K, {self._COLUMNS}), "
                f"got {tuple(selected.shape)} from {item!r}"
            )
        return type(self)(selected)

    def clone(self) -> Self:
        return type(self)(self.tensor.clone())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move to a device; the dtype stays float32."""
        return type(self)(self.tensor.to(device=device, non_blocking=non_blocking))

    def area(self) -> Tensor:
        """Area in square pixels, (N,); negative for a box with one side inverted."""
        width, height = (self.tensor[:, 2:] - self.tensor[:, :2]).unbind(dim=1)
        return width * height

    def clip(self, box_size: tuple[int, int]) -> None:
        """Cut to an image, in place: x to [0, width], y to [0, height].

        ``tensor`` is replaced, so whoever holds the old one sees no change.

        Args:
            box_size: Height and width.

        Raises:
            ValueError: A coordinate is NaN or infinite (not looked for in compiled code).
        """
        if not torch.compiler.is_compiling():
            _check_finite(self.tensor)
        height, width = box_size
        x, y = self.tensor[:, 0::2].clamp(0, width), self.tensor[:, 1::2].clamp(0, height)
        self.tensor = torch.stack((x, y), dim=2).flatten(1)

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """bool (N,): both sides are longer than ``threshold`` pixels."""
        return (self.tensor[:, 2:] - self.tensor[:, :2] > threshold).all(dim=1)

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: float = 0) -> Tensor:
        """bool (N,): inside an image of ``box_size`` (height, width).

        Left and top may exceed the border by ``boundary_threshold`` pixels; right and bottom must
        stay below that.
        """
        return corners_inside(self.tensor, box_size, boundary_threshold)

    def get_centers(self) -> Tensor:
        """Mid points (x, y), (N, 2)."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply x and y coordinates, in place; whoever shares the memory sees it."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @classmethod
    def cat(cls, boxes_list: Sequence[Self]) -> Self:
        """Concatenate in order into new memory; an empty list gives no boxes."""
        check_list_of(cls, boxes_list)
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))


def corners_inside(corners: Tensor, box_size: tuple[int, int], boundary_threshold: float) -> Tensor:
    """Whether boxes (N, 4), as x0, y0, x1, y1, lie in [-t, width + t) x [-t, height + t): (N,)."""
    height, width = box_size
    x0, y0, x1, y1 = corners.unbind(dim=1)
    t = boundary_threshold
    return (x0 >= -t) & (y0 >= -t) & (x1 < width + t) & (y1 < height + t)


def check_list_of(cls: type, items: object) -> None:
    """Refuse anything but a list or tuple of ``cls`` as argument of ``cls.cat``."""
    name = cls.__name__
    if not isinstance(items, list | tuple):
        raise TypeError(f"{name}.cat needs a list or tuple of {name}, got {type(items).__name__}")
    for item in items:
        if not isinstance(item, cls):
            raise TypeError(f"{name}.cat needs {name} only, got {type(item).__name__}")


def _check_finite(tensor: Tensor) -> None:
    finite = torch.isfinite(tensor)
    if not finite.all():
        bad = (~finite.all(dim=1)).nonzero()[:, 0]
        raise ValueError(
            f"expected finite boxes, got NaN or infinity in {len(bad)} of {len(tensor)}, "
            f"the first at row {int(bad[0])}: {tensor[bad[0]].tolist()}"
        )
