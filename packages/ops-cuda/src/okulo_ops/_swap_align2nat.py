"""From the aligned to the natural form of dense masks (TensorMask, https://arxiv.org/abs/1903.12174)."""

import math

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, in_float32
from okulo_ops._operator import define

__all__ = ["swap_align2nat", "SwapAlign2Nat"]


def swap_align2nat(X: Tensor, lambda_val: int, pad_val: float = -6.0) -> Tensor:
    """Turn masks that belong to the pixels they cover into masks that belong to their window.

    In the aligned form channel (v, u) of a pixel is the value there of the mask whose window has
    the pixel at (v, u); in the natural form it is the value of the pixel's own window at (v, u).
    Windows become ``lambda_val`` times finer and pixels as much coarser; values between are
    interpolated bilinearly both over windows and over pixels.

    Args:
        X: (N, V * V, H, W) floating, aligned; channels are (v, u), row by row.
        lambda_val: Whole factor, >= 1.
        pad_val: What is outside of the image and of the window, in the unit of ``X``.

    Returns:
        (N, (lambda_val * V) ** 2, ceil(H / lambda_val), ceil(W / lambda_val)), dtype of ``X``.

    Raises:
        ValueError: ``X`` is of another shape, or ``lambda_val`` is below 1.
    """
    check_floating("X", X, ("N", "V * V", "H", "W"))
    if lambda_val < 1:
        raise ValueError(f"lambda_val must be at least 1, got {lambda_val}")
    if math.isqrt(int(X.shape[1])) ** 2 != X.shape[1]:
        raise ValueError(f"the channels of X must be a square number, got {X.shape[1]}")
    result: Tensor = _swap(X, lambda_val, pad_val)
    return result


class SwapAlign2Nat(nn.Module):
    """:func:`swap_align2nat` with its settings."""

    def __init__(self, lambda_val: int, pad_val: float = -6.0) -> None:
        super().__init__()
        self.lambda_val = lambda_val
        self.pad_val = pad_val

    def forward(self, X: Tensor) -> Tensor:
        return swap_align2nat(X, self.lambda_val, self.pad_val)

    def extra_repr(self) -> str:
        return f"lambda_val={self.lambda_val}, pad_val={self.pad_val}"


def _meaning(input: Tensor, factor: int, pad: float) -> Tensor:
    # Weights sum to one, so what is outside may be zero while the rest is taken relative to pad.
    batch, channels, height, width = input.shape
    side = math.isqrt(int(channels))
    x = (in_float32(input).contiguous() - pad).reshape(batch, side, side, height, width)
    x = _swap_axis(x.permute(0, 2, 4, 1, 3), factor)  # (N, U, W, v, y)
    x = _swap_axis(x.permute(0, 3, 4, 1, 2), factor)  # (N, v, y, u, x)
    x = x.permute(0, 1, 3, 2, 4) + pad
    return x.flatten(1, 2).to(input.dtype)


def _swap_axis(x: Tensor, factor: int) -> Tensor:
    """(..., V, H) of one direction -> (..., factor * V, ceil(H / factor))."""
    side, size = x.shape[-2:]
    window = torch.arange(factor * side, device=x.device, dtype=x.dtype)[:, None]
    start = torch.arange(-(-size // factor), device=x.device, dtype=x.dtype) * factor
    pixel = start + window - factor * side / 2 + 0.5
    cell = ((window + 0.5) / factor - 0.5).expand_as(pixel)
    result = x.new_zeros(*x.shape[:-2], *pixel.shape)
    for i, share_i in _neighbours(cell):
        for j, share_j in _neighbours(pixel):
            exists = (i >= 0) & (i < side) & (j >= 0) & (j < size)
            values = x[..., i.clamp(0, side - 1), j.clamp(0, size - 1)]
            result = result + torch.where(exists, share_i * share_j, 0) * values
    return result


def _neighbours(at: Tensor) -> list[tuple[Tensor, Tensor]]:
    low = at.floor()
    return [(low.long(), low + 1 - at), (low.long() + 1, at - low)]


def _fake(input: Tensor, factor: int, pad: float) -> Tensor:
    batch, channels, height, width = input.shape
    return input.new_empty(batch, channels * factor**2, -(-height // factor), -(-width // factor))


_swap = define(
    "swap_align2nat(Tensor input, int factor, float pad) -> Tensor",
    _meaning,
    _fake,
    gradient=["input"],
    autocast="float32",
)
