"""Images of different sizes as one padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ImageList"]


class ImageList:
    """A padded batch and the true size of each image.

    Attributes:
        tensor: (N, ..., H, W); image i fills the top-left corner of ``tensor[i]``.
        image_sizes: (height, width) of each image before padding.
    """

    def __init__(self, tensor: Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> Tensor:
        """Image ``idx`` cut to its true size, (..., height, width)."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    def to(self, *args: Any, **kwargs: Any) -> ImageList:
        """Move or cast the batch as ``Tensor.to`` does; sizes stay."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: Sequence[Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: Mapping[str, int] | None = None,
    ) -> ImageList:
        """Pad images at the bottom and right to a common size and stack them.

        Args:
            tensors: One or more of shape (..., H_i, W_i) with equal leading dimensions and dtype.
            size_divisibility: Round height and width of the batch up to a multiple of this, if
                greater than 1.
            pad_value: Fills the padding; for label maps the label to ignore.
            padding_constraints: ``square_size`` > 0 makes the batch that many pixels high and
                wide; ``size_divisibility`` stands before the argument of that name.

        Returns:
            A contiguous batch of the inputs' dtype, through which gradients flow to the images.
        """
        _check_images(tensors)
        constraints = padding_constraints or {}
        square = constraints.get("square_size", 0)
        stride = constraints.get("size_divisibility", size_divisibility)
        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        if square > 0:
            height = width = square
        else:
            height = _round_up(max(size[0] for size in sizes), stride)
            width = _round_up(max(size[1] for size in sizes), stride)
        too_large = [size for size in sizes if size[0] > height or size[1] > width]
        if too_large:
            raise ValueError(
                f"images must fit into square_size {square}, got (height, width) {too_large[0]}"
            )
        padded = [
            F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]), value=pad_value)
            for image in tensors
        ]
        return ImageList(torch.stack(padded).contiguous(), sizes)


def _round_up(size: int, stride: int) -> int:
    return (size + stride - 1) // stride * stride if stride > 1 else size


def _check_images(tensors: Sequence[Tensor]) -> None:
    if not isinstance(tensors, list | tuple) or len(tensors) == 0:
        raise ValueError(f"expected a list of at least one image tensor, got {tensors!r}")
    for image in tensors:
        if not isinstance(image, Tensor):
            raise TypeError(f"images must be tensors, got {type(image).__name__}")
        if image.ndim < 2:
            raise ValueError(f"images have shape (..., H, W), got {tuple(image.shape)}")
        if image.shape[:-2] != tensors[0].shape[:-2]:
            raise ValueError(
                "images of one batch must agree in all but height and width, "
                f"got {tuple(tensors[0].shape)} and {tuple(image.shape)}"
            )
