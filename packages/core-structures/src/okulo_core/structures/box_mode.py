"""The ways to write a box as numbers, and conversion between them."""

from collections.abc import Callable, Sequence
from enum import IntEnum, unique
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

__all__ = ["BoxMode"]

BoxT = TypeVar("BoxT", bound=Sequence[float] | np.ndarray | Tensor)


@unique
class BoxMode(IntEnum):
    """How the numbers of a box are meant; an int, so JSON holds it as a number."""

    XYXY_ABS = 0
    """(x0, y0, x1, y1) in pixels."""
    XYWH_ABS = 1
    """(x0, y0, width, height) in pixels."""
    XYXY_REL = 2
    """(x0, y0, x1, y1) as shares of the image's width and height; not convertible."""
    XYWH_REL = 3
    """(x0, y0, width, height) as shares of the image's width and height; not convertible."""
    XYWHA_ABS = 4
    """(cx, cy, width, height, angle) in pixels and degrees, counter-clockwise."""

    @staticmethod
    def convert(box: BoxT, from_mode: "BoxMode | int", to_mode: "BoxMode | int") -> BoxT:
        """Write boxes in another mode.

        Between XYXY and XYWH integers stay integers. XYWHA to XYXY gives the horizontal hull, and
        XYWH to XYWHA the same box at angle 0; both are computed in float64 and cast back.

        Args:
            box: One box as list or tuple, or an (N, 4) or (N, 5) array or tensor.
            from_mode: What ``box`` holds.
            to_mode: What is wanted.

        Returns:
            New boxes in the container and dtype of ``box``; ``box`` itself if the modes are equal.

        Raises:
            ValueError: Relative mode, or a shape that does not fit ``from_mode``.
            NotImplementedError: No conversion between the two modes.
        """
        from_mode, to_mode = BoxMode(from_mode), BoxMode(to_mode)
        if from_mode == to_mode:
            return box
        for mode in (from_mode, to_mode):
            if mode in (BoxMode.XYXY_REL, BoxMode.XYWH_REL):
                raise ValueError(
                    f"relative boxes cannot be converted, got {mode.name}; "
                    "multiply by the image's width and height first"
                )
        try:
            change = _CONVERSIONS[from_mode, to_mode]
        except KeyError:
            raise NotImplementedError(
                f"no conversion from {from_mode.name} to {to_mode.name}"
            ) from None
        rows = _as_rows(box, 5 if from_mode == BoxMode.XYWHA_ABS else 4, from_mode)
        return _like(box, change(rows))


def _as_rows(box: Sequence[float] | np.ndarray | Tensor, columns: int, mode: BoxMode) -> Tensor:
    """The boxes as a matrix that must not be written to."""
    if isinstance(box, Tensor):
        rows = box
    elif isinstance(box, np.ndarray):
        rows = torch.from_numpy(np.array(box))
    elif isinstance(box, list | tuple):
        if len(box) != columns:
            raise ValueError(
                f"one box in mode {mode.name} has {columns} numbers, got {len(box)}: {box!r}"
            )
        integral = all(isinstance(value, int | np.integer) for value in box)
        rows = torch.tensor([list(box)], dtype=torch.int64 if integral else torch.float64)
    else:
        raise TypeError(f"box must be a list, tuple, array or tensor, got {type(box).__name__}")
    if rows.ndim == 0 or rows.shape[-1] != columns:
        raise ValueError(
            f"boxes in mode {mode.name} have shape (N, {columns}), got {tuple(rows.shape)}"
        )
    return rows


def _like(box: BoxT, rows: Tensor) -> BoxT:
    if isinstance(box, Tensor):
        return cast(BoxT, rows)
    if isinstance(box, np.ndarray):
        return cast(BoxT, rows.numpy())
    return cast(BoxT, type(box)(rows[0].tolist()))  # type: ignore[call-arg]


def _xywh_to_xyxy(rows: Tensor) -> Tensor:
    return torch.cat((rows[..., :2], rows[..., :2] + rows[..., 2:]), dim=-1)


def _xyxy_to_xywh(rows: Tensor) -> Tensor:
    return torch.cat((rows[..., :2], rows[..., 2:] - rows[..., :2]), dim=-1)


def _xywh_to_xywha(rows: Tensor) -> Tensor:
    exact = rows.double()
    center = exact[..., :2] + exact[..., 2:] / 2
    angle = torch.zeros_like(center[..., :1])
    return torch.cat((center, exact[..., 2:], angle), dim=-1).to(rows.dtype)


def _xywha_to_xyxy(rows: Tensor) -> Tensor:
    exact = rows.double()
    center, (width, height, angle) = exact[..., :2], exact[..., 2:].unbind(dim=-1)
    cos, sin = torch.deg2rad(angle).cos().abs(), torch.deg2rad(angle).sin().abs()
    half = torch.stack((cos * width + sin * height, cos * height + sin * width), dim=-1) / 2
    return torch.cat((center - half, center + half), dim=-1).to(rows.dtype)


_CONVERSIONS: dict[tuple[BoxMode, BoxMode], Callable[[Tensor], Tensor]] = {
    (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS): _xywh_to_xyxy,
    (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS): _xyxy_to_xywh,
    (BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS): _xywh_to_xywha,
    (BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS): _xywha_to_xyxy,
}
