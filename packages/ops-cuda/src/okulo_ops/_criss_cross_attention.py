"""Attention of each pixel to its row and column (https://arxiv.org/abs/1811.11721, section 3.2).

Written as batched matrix products, which PyTorch runs at the speed of the device; a kernel of its
own would compute the same products one by one.
"""

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_floating

__all__ = ["ca_weight", "ca_map", "CrissCrossAttention"]


def ca_weight(query: Tensor, key: Tensor) -> Tensor:
    """Affinity of each pixel to the pixels of its row and column.

    Args:
        query, key: (N, C, H, W) floating.

    Returns:
        (N, W + H - 1, H, W): the W pixels of the row from the left, itself included, then the
        H - 1 others of the column from the top.
    """
    check_floating("query", query, ("N", "C", "H", "W"))
    check_floating("key", key, query.shape)
    column = _along_column(query, key)
    others = _others(column).expand(*column.shape[:3], -1)
    weight = torch.cat((_along_row(query, key), column.gather(-1, others)), dim=-1)
    return weight.permute(0, 3, 1, 2)


def ca_map(weight: Tensor, value: Tensor) -> Tensor:
    """Sum the values of each pixel's row and column.

    Args:
        weight: (N, W + H - 1, H, W) floating, in the order of :func:`ca_weight`.
        value: (N, C, H, W) floating.

    Returns:
        (N, C, H, W).
    """
    check_floating("value", value, ("N", "C", "H", "W"))
    batch, _, height, width = value.shape
    check_floating("weight", weight, (batch, width + height - 1, height, width))
    row, rest = weight.permute(0, 2, 3, 1).split((width, height - 1), dim=-1)
    column = rest.new_zeros((batch, height, width, height))
    others = _others(column).expand(*column.shape[:3], -1)
    return _gather(row, column.scatter(-1, others, rest), value)


class CrissCrossAttention(nn.Module):
    """Criss-cross attention, added to its input by a learnt factor that starts at 0.

    Args:
        in_channels: C; queries and keys have C // 8 channels.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        if in_channels < 8:
            raise ValueError(f"in_channels must be at least 8, got {in_channels}")
        self.in_channels = in_channels
        self.query_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.key_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = _Scale()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        query, key = self.query_conv(x), self.key_conv(x)
        row, column = _along_row(query, key), _along_column(query, key)
        itself = torch.eye(x.shape[2], dtype=torch.bool, device=x.device)[:, None]
        column = column.masked_fill(itself, -torch.inf)  # the row has it already
        weight = torch.cat((row, column), dim=-1).softmax(-1)
        row, column = weight.split((x.shape[3], x.shape[2]), dim=-1)
        return self.gamma(_gather(row, column, self.value_conv(x))) + x  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"in_channels={self.in_channels}"


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def _along_row(query: Tensor, key: Tensor) -> Tensor:
    """(N, H, W, W): products with the pixels of the row."""
    return query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)


def _along_column(query: Tensor, key: Tensor) -> Tensor:
    """(N, H, W, H): products with the pixels of the column."""
    return (query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)).transpose(1, 2)


def _gather(row: Tensor, column: Tensor, value: Tensor) -> Tensor:
    """(N, C, H, W): values of the row and column by their weights."""
    across = row @ value.permute(0, 2, 3, 1)  # (N, H, W, C)
    down = column.transpose(1, 2) @ value.permute(0, 3, 2, 1)  # (N, W, H, C)
    return (across + down.transpose(1, 2)).permute(0, 3, 1, 2)


def _others(column: Tensor) -> Tensor:
    """(H, 1, H - 1): for each row all other rows, from the top."""
    height = column.shape[1]
    index = torch.arange(max(height - 1, 0), device=column.device)
    own = torch.arange(height, device=column.device)[:, None]
    return (index + (index >= own))[:, None]
