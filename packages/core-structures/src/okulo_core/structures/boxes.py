"""Axis-aligned boxes of one image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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

    def __init__(self, tensor: Tensor | Any) -> None:
        """Take (N, 4) boxes.

        Args:
            tensor: A tensor, kept on its device and cast to float32 (shared where it is float32
                already), or anything ``torch.as_tensor`` takes. No numbers at all, in whatever
                shape, are (0, 4).
        """
        if not isinstance(tensor, Tensor):
            tensor = torch.as_tensor(tensor, dtype=torch.float32, device="cpu")
        tensor = tensor.to(torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape(-1)[:0].reshape(0, 4)
        if tensor.ndim != 2 or tensor.shape[1] != 4:
            raise ValueError(
                f"Boxes need shape (N, 4), got {tuple(tensor.shape)}; one box is [[x0, y0, x1, y1]]"
            )
        self.tensor = tensor

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"

    def __iter__(self) -> Iterator[Tensor]:
        """Yield each box as a tensor of shape (4,)."""
        yield from self.tensor

    def __getitem__(self, item: int | slice | Tensor) -> Boxes:
        """Select boxes by an int (one row), a slice, a bool mask (N,) or a vector of indices.

        The result may share memory with this object, as indexing a tensor does.
        """
        if isinstance(item, int):
            return Boxes(self.tensor[item].reshape(1, 4))
        selected = self.tensor[item]
        if selected.ndim != 2 or selected.shape[1] != 4:
            raise ValueError(
                f"indexing Boxes must give shape (K, 4), got {tuple(selected.shape)} from {item!r}"
            )
        return Boxes(selected)

    def clone(self) -> Boxes:
        return Boxes(self.tensor.clone())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Boxes:
        """Move to a device; the dtype stays float32."""
        return Boxes(self.tensor.to(device=device, non_blocking=non_blocking))

    def area(self) -> Tensor:
        """Area in square pixels, (N,); negative for a box with one side inverted."""
        sides = self.tensor[:, 2:] - self.tensor[:, :2]
        return sides[:, 0] * sides[:, 1]

    def clip(self, box_size: tuple[int, int]) -> None:
        """Cut to an image, in place: x to [0, width], y to [0, height].

        ``tensor`` is replaced, so whoever holds the old one sees no change.

        Args:
            box_size: Height and width.

        Raises:
            ValueError: A coordinate is NaN or infinite.
        """
        if not torch.compiler.is_compiling() and not torch.isfinite(self.tensor).all():
            bad = (~torch.isfinite(self.tensor).all(dim=1)).nonzero()[:, 0]
            raise ValueError(
                f"expected finite boxes, got NaN or infinity in {len(bad)} of {len(self)}, "
                f"the first at row {int(bad[0])}: {self.tensor[bad[0]].tolist()}"
            )
        height, width = box_size
        x0, y0, x1, y1 = self.tensor.unbind(dim=1)
        self.tensor = torch.stack(
            (
                x0.clamp(min=0, max=width),
                y0.clamp(min=0, max=height),
                x1.clamp(min=0, max=width),
                y1.clamp(min=0, max=height),
            ),
            dim=1,
        )

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """bool (N,): both sides are longer than ``threshold`` pixels."""
        return (self.tensor[:, 2:] - self.tensor[:, :2] > threshold).all(dim=1)

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: float = 0) -> Tensor:
        """bool (N,): inside an image of ``box_size`` (height, width).

        Left and top may exceed the border by ``boundary_threshold`` pixels; right and bottom by
        less than that.
        """
        height, width = box_size
        x0, y0, x1, y1 = self.tensor.unbind(dim=1)
        t = boundary_threshold
        return (x0 >= -t) & (y0 >= -t) & (x1 < width + t) & (y1 < height + t)

    def get_centers(self) -> Tensor:
        """Mid points (x, y), (N, 2)."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply x and y coordinates, in place; whoever shares the memory sees it."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @classmethod
    def cat(cls, boxes_list: Sequence[Boxes]) -> Boxes:
        """Concatenate in order into new memory; an empty list gives no boxes."""
        check_list_of(cls, boxes_list)
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))


def check_list_of(cls: type, items: object) -> None:
    """Refuse anything but a list or tuple of ``cls``."""
    if not isinstance(items, list | tuple):
        raise TypeError(
            f"{cls.__name__}.cat needs a list or tuple of {cls.__name__}, "
            f"got {type(items).__name__}"
        )
    for item in items:
        if not isinstance(item, cls):
            raise TypeError(
                f"{cls.__name__}.cat needs {cls.__name__} only, got {type(item).__name__}"
            )
