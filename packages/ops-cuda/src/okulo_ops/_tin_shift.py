"""Frames of groups of channels shifted in time (https://arxiv.org/abs/2001.06499)."""

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device
from okulo_ops._operator import define

__all__ = ["tin_shift", "TINShift"]


def tin_shift(input: Tensor, shift: Tensor) -> Tensor:
    """Move each group of channels by a number of frames of its own; zeros enter.

    Args:
        input: (N, T, C, HW) floating, N clips of T frames.
        shift: (N, G) integer; frame t of the C / G channels of a group goes to frame t + shift. G
            divides C.

    Returns:
        (N, T, C, HW), dtype of ``input``. The gradient flows to ``input``, by the shift reversed.
    """
    check_floating("input", input, ("N", "T", "C", "HW"))
    if shift.is_floating_point() or shift.ndim != 2 or len(shift) != len(input):
        raise ValueError(
            f"shift must be integer of shape ({len(input)}, G), got {shift.dtype} of shape "
            f"{tuple(shift.shape)}"
        )
    channels, groups = input.shape[2], shift.shape[1]
    if groups == 0 or channels % groups:
        raise ValueError(
            f"the groups of shift must divide the channels of input, got {groups} groups "
            f"and {channels} channels"
        )
    check_same_device(input=input, shift=shift)
    return _tin_shift(input, shift.long())  # type: ignore[no-any-return]


class TINShift(nn.Module):
    """:func:`tin_shift` as a module."""

    def forward(self, input: Tensor, shift: Tensor) -> Tensor:
        return tin_shift(input, shift)


def _meaning(input: Tensor, shift: Tensor) -> Tensor:
    frames, channels = input.shape[1:3]
    steps = shift.clamp(-frames, frames).repeat_interleave(channels // shift.shape[1], dim=1)
    source = torch.arange(frames, device=input.device)[:, None] - steps[:, None]  # (N, T, C)
    inside = (source >= 0) & (source < frames)
    index = torch.where(inside, source, 0)[..., None].expand(input.shape)
    return input.gather(1, index).masked_fill(~inside[..., None], 0)


_tin_shift = define(
    "tin_shift(Tensor input, Tensor shift) -> Tensor",
    _meaning,
    lambda input, _: input.new_empty(input.shape),
    gradient=["input"],
)
