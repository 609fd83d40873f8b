"""Masks as predicted inside boxes."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from okulo_core.structures.bit_masks import BitMasks
from okulo_core.structures.boxes import Boxes
from okulo_ops import paste_masks_in_image

__all__ = ["ROIMasks"]


class ROIMasks:
    """N square masks, each filling a box that is kept elsewhere.

    Attributes:
        tensor: (N, M, M): probabilities in [0, 1], or bool.
    """

    def __init__(self, tensor: Tensor) -> None:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"ROIMasks need a tensor, got {type(tensor).__name__}")
        if tensor.ndim != 3:
            raise ValueError(f"ROIMasks need shape (N, M, M), got {tuple(tensor.shape)}")
        self.tensor = tensor

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def to(self, *args: Any, **kwargs: Any) -> ROIMasks:
        """Move or cast as ``Tensor.to`` does."""
        return ROIMasks(self.tensor.to(*args, **kwargs))

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"ROIMasks(num_instances={len(self)})"

    def __getitem__(self, item: int | slice | Tensor) -> ROIMasks:
        """Select masks by an int (one mask), a slice, a bool mask (N,) or a vector of indices."""
        selected = self.tensor[item]
        return ROIMasks(selected[None] if isinstance(item, int) else selected)

    def to_bitmasks(
        self, boxes: Boxes | Tensor, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """Paste the masks into the image.

        Args:
            boxes: N boxes, in pixels of that image.
            height: Of the image, in pixels.
            width: Of the image, in pixels.
            threshold: A pixel is set where the mask's value is at least this; in [0, 1].

        Returns:
            N masks of that size on the device of these; on the CPU, with a warning, if a GPU's
            memory does not hold them.
        """
        if threshold < 0:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        boxes = boxes.tensor if isinstance(boxes, Boxes) else boxes
        try:
            pasted = paste_masks_in_image(self.tensor, boxes, (height, width), threshold)
        except torch.OutOfMemoryError:
            warnings.warn(
                f"{len(self)} masks of {height} x {width} do not fit on {self.device}; "
                "they stay on the CPU",
                stacklevel=2,
            )
            pasted = paste_masks_in_image(
                self.tensor.cpu(), boxes.cpu(), (height, width), threshold
            )
        return BitMasks(pasted)
