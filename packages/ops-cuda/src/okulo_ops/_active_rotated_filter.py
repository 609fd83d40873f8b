"""Turned copies of oriented filters (https://arxiv.org/abs/1701.01833, Eq. 1)."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

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
    indices = indices.long()
    if not indices.is_cuda and not torch.compiler.is_compiling():
        _check_permutations(indices)
    result: Tensor = _turn(input, indices)
    return result


def _check_permutations(indices: Tensor) -> None:
    targets = indices.flatten(0, 2)
    entries = torch.arange(1, len(targets) + 1)[:, None].expand_as(targets)
    if not torch.equal(targets.sort(dim=0)[0], entries):
        raise ValueError(
            f"indices must name each of 1..{len(targets)} once for each angle, got values from "
            f"{indices.min().item()} to {indices.max().item()}"
        )


def _meaning(input: Tensor, indices: Tensor) -> Tensor:
    # Gathered by the inverse of the table, so that gradients add up in a fixed order.
    source = indices.flatten(0, 2).argsort(dim=0)
    turned = in_float32(input).flatten(2)[:, :, source.t()]
    return turned.transpose(1, 2).reshape(_shape(input, indices)).to(input.dtype)


def _shape(input: Tensor, indices: Tensor) -> tuple[int, ...]:
    out_channels, in_channels, orientations, height, width = input.shape
    return out_channels * indices.shape[3], in_channels * orientations, height, width


_turn = define(
    "active_rotated_filter(Tensor input, Tensor indices) -> Tensor",
    _meaning,
    lambda input, indices: input.new_empty(_shape(input, indices)),
    gradient=["input"],
)
