"""Point-wise spatial attention: masks around positions moved to the map (PSANet, ECCV 2018)."""

from typing import Literal

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating
from okulo_ops._operator import define

__all__ = ["psa_mask", "PSAMask"]

PSAType = Literal["collect", "distribute"]


def psa_mask(input: Tensor, psa_type: PSAType, mask_size: tuple[int, int] | None) -> Tensor:
    """Turn the attention mask of each position, relative to it, into attention between positions.

    Entry (i, j) of the mask of position (h, w) belongs to the target
    (h + i - (hm - 1) // 2, w + j - (wm - 1) // 2); targets outside the map are dropped, targets
    outside the mask get zero.

    Args:
        input: (N, hm * wm, H, W) floating, one mask for each position.
        psa_type: "collect": channel t of the result has at (h, w) what position (h, w) gives to
            target t. "distribute": channel h * W + w has at t what it gives to t.
        mask_size: (hm, wm).

    Returns:
        (N, H * W, H, W), dtype of ``input``.
    """
    height, width = _check_settings(psa_type, mask_size)
    check_floating("input", input, ("N", height * width, "H", "W"))
    return _psa_mask(input, height, width, psa_type == "collect")  # type: ignore[no-any-return]


class PSAMask(nn.Module):
    """:func:`psa_mask` with its settings; ``mask_size`` must be given."""

    def __init__(self, psa_type: PSAType, mask_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.psa_type = psa_type
        self.mask_size = _check_settings(psa_type, mask_size)

    def forward(self, input: Tensor) -> Tensor:
        return psa_mask(input, self.psa_type, self.mask_size)

    def extra_repr(self) -> str:
        return f"psa_type={self.psa_type!r}, mask_size={self.mask_size}"


def _check_settings(psa_type: str, mask_size: tuple[int, int] | None) -> tuple[int, int]:
    if psa_type not in ("collect", "distribute"):
        raise ValueError(f'psa_type must be "collect" or "distribute", got {psa_type!r}')
    if mask_size is None or len(mask_size) != 2 or min(mask_size) < 1:
        raise ValueError(
            "mask_size must be (height, width), both positive: the channels of the input do not "
            f"tell them; got {mask_size}"
        )
    height, width = mask_size
    return height, width


def _meaning(input: Tensor, mask_height: int, mask_width: int, collect: bool) -> Tensor:
    batch, _, height, width = input.shape

    def entries(size: int, mask_size: int) -> Tensor:
        """Which entry of a mask belongs to a target (row) of a position (column)."""
        index = torch.arange(size, device=input.device)
        return index[:, None] - index + (mask_size - 1) // 2

    i = entries(height, mask_height)[:, None, :, None]
    j = entries(width, mask_width)[:, None, :]
    inside = (i >= 0) & (i < mask_height) & (j >= 0) & (j < mask_width)
    pixels = height * width
    index = torch.where(inside, i * mask_width + j, 0).view(pixels, pixels)
    moved = input.flatten(2).gather(1, index.expand(batch, pixels, pixels))
    moved = moved.masked_fill(~inside.view(pixels, pixels), 0)
    moved = moved if collect else moved.transpose(1, 2)
    return moved.reshape(batch, pixels, height, width)


def _fake(input: Tensor, _height: int, _width: int, _collect: bool) -> Tensor:
    batch, _, height, width = input.shape
    return input.new_empty((batch, height * width, height, width))


_psa_mask = define(
    "psa_mask(Tensor input, int mask_height, int mask_width, bool collect) -> Tensor",
    _meaning,
    _fake,
    gradient=["input"],
)
