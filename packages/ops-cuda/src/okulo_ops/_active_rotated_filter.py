"""Turned copies of oriented filters (https://arxiv.org/abs/1701.01833, Eq. 1)."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device

__all__ = ["active_rotated_filter"]


def active_rotated_filter(input: Tensor, indices: Tensor) -> Tensor:
    """Turn every filter by each of R angles.

    Args:
        input: (C_out, C_in, O, kh, kw) filters with O orientation channels.
        indices: (O, kh, kw, R) integers: where each entry of a filter goes when it is turned by
            each angle, as 1 + the flat index into (O, kh, kw); a permutation for each angle.

    Returns:
        (C_out * R, C_in * O, kh, kw): filter by filter, its turned copies; dtype of ``input``.

    Raises:
        ValueError: Shapes differ from the above, or ``indices`` is no permutation (checked on the
            CPU; a GPU would have to wait for it).
    """
    check_floating("input", input, ("C_out", "C_in", "O", "kh", "kw"))
    if indices.ndim != 4 or indices.shape[:3] != input.shape[2:] or indices.is_floating_point():
        raise ValueError(
            f"indices must be integers of shape {(*input.shape[2:], 'R')}, got {indices.dtype} "
            f"of shape {tuple(indices.shape)}"
        )
    check_same_device(input=input, indices=indices)
    out_channels, in_channels, orientations, height, width = input.shape
    rotations = indices.shape[3]
    target = indices.reshape(-1, rotations).long() - 1
    entries, source = target.sort(dim=0)
    if not indices.is_cuda and not torch.compiler.is_compiling():
        expected = torch.arange(len(target))[:, None].expand_as(entries)
        if not torch.equal(entries, expected):
            raise ValueError(
                f"indices must name each of 1..{len(target)} once for each angle, got values from "
                f"{indices.min().item()} to {indices.max().item()}"
            )
    # Gathered, so that gradients add up in a fixed order.
    turned = input.flatten(2)[:, :, source.t()]
    shape = out_channels * rotations, in_channels * orientations, height, width
    return turned.permute(0, 2, 1, 3).reshape(shape)
