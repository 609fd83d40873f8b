"""Run lengths of masks, as COCO stores them: down the columns, zeros first."""

from collections.abc import Iterable
from typing import TypedDict

import torch
from torch import Tensor

from okulo_ops._operator import define

__all__ = ["RLE", "mask_to_rle", "rle_to_mask"]

_CHUNK, _SIGN, _MORE, _FIRST = 0x1F, 0x10, 0x20, 48  # five bits a character, "0" is 48


class RLE(TypedDict):
    """Run lengths of one mask: ``size`` is [height, width]; ``counts`` a list, or compressed."""

    size: list[int]
    counts: list[int] | bytes | str


def mask_to_rle(mask: Tensor, compress: bool = True) -> RLE:
    """Run lengths of a mask.

    Args:
        mask: (height, width), bool or any number; what is not 0 is set.
        compress: COCO's text, as ``bytes``, instead of the list of numbers.

    Returns:
        Run lengths in the order of columns; the first, maybe 0, is of zeros.
    """
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must have shape (height, width), got {shape}")
    counts = _run_lengths(mask != 0).tolist()
    return {"size": list(mask.shape), "counts": _compressed(counts) if compress else counts}


def rle_to_mask(rle: RLE, device: torch.device | str | None = None) -> Tensor:
    """The bool (height, width) mask of run lengths, compressed or not."""
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _decompressed(counts.encode() if isinstance(counts, str) else counts)
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(
            f"run lengths must be at least 0 and sum to height times width, {height * width}, "
            f"got {sum(counts)} from {len(counts)} of them"
        )
    lengths = torch.tensor(counts, dtype=torch.int64)
    values = torch.arange(len(counts)) % 2 == 1
    return values.repeat_interleave(lengths).reshape(width, height).t().contiguous().to(device)


def _compressed(counts: Iterable[int]) -> bytes:
    """From the fourth on a run is stored as its difference to the one before the previous."""
    text, runs = bytearray(), list(counts)
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            chunk, value = value & _CHUNK, value >> 5
            more = value != (-1 if chunk & _SIGN else 0)
            text.append((chunk | _MORE if more else chunk) + _FIRST)
    return bytes(text)


def _decompressed(text: bytes) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        chunk = character - _FIRST
        if not 0 <= chunk < 64:
            raise ValueError(f"compressed run lengths hold no character {chr(character)!r}")
        value |= (chunk & _CHUNK) << shift
        shift += 5
        if chunk & _MORE:
            continue
        if chunk & _SIGN:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number; the text has been cut")
    return runs


def _meaning(mask: Tensor) -> Tensor:
    """Distances between the places where the value changes, counted from a zero in front."""
    column_major = mask.t().flatten()
    ends = column_major.new_zeros(1)
    before = torch.cat((ends, column_major))[: column_major.numel()]
    changes = (column_major != before).nonzero()[:, 0]
    total = changes.new_full((1,), column_major.numel())
    return torch.diff(torch.cat((changes, total)), prepend=torch.zeros_like(total))


def _fake(mask: Tensor) -> Tensor:
    size = torch.library.get_ctx().new_dynamic_size(min=1)
    return mask.new_empty(size, dtype=torch.int64)


_run_lengths = define("mask_run_lengths(Tensor mask) -> Tensor", _meaning, _fake)
