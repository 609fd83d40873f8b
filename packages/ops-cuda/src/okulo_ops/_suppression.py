"""Greedy suppression of ranked shapes, in PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor

from okulo_ops._nms import _settled as settled

__all__ = ["kept_of_ranked"]

_BLOCK = 256  # shapes that are compared with all others at a time


def kept_of_ranked(
    over: Callable[[slice], Tensor], idxs: Tensor | None, count: int, like: Tensor
) -> Tensor:
    """Which of ``count`` shapes, by decreasing score, stay: bool (count,).

    Args:
        over: From a range of b shapes to bool (b, count): whether each of all overlaps each of the
            range too much.
        idxs: (count,) categories, or None; only equal ones touch each other.
        count: How many shapes there are.
        like: A tensor on their device.
    """
    kept = torch.ones(count, dtype=torch.bool, device=like.device)
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        drops = over(block).triu(start + 1)
        if idxs is not None:
            drops &= idxs[block, None] == idxs
        kept[block] = settled(drops[:, block], kept[block])
        kept &= ~(drops & kept[block, None]).any(dim=0)
    return kept
