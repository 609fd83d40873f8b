"""Areas of axis-aligned boxes (x0, y0, x1, y1), as all operators on boxes compute them."""

import torch
from torch import Tensor

__all__ = ["area", "shared_area"]


def area(boxes: Tensor, offset: float = 0) -> Tensor:
    """(..., 4) -> (...); ``offset`` 1 counts a box's last pixel as well."""
    x0, y0, x1, y1 = boxes.unbind(dim=-1)
    return (x1 - x0 + offset) * (y1 - y0 + offset)


def shared_area(first: Tensor, second: Tensor, offset: float = 0) -> Tensor:
    """Area of the intersection; (..., 4) and (..., 4), broadcast, -> (...)."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    width, height = (high - low + offset).clamp(min=0).unbind(dim=-1)
    return width * height
