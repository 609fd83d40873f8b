"""What the operators ask of their arguments; a check names the argument and what it got."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["check_boxes", "check_floating", "check_vector", "check_same_device", "in_float32"]


def check_boxes(name: str, boxes: Tensor, columns: int = 4) -> None:
    """Refuse anything but a floating (N, columns) tensor."""
    if not isinstance(boxes, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(boxes).__name__}")
    if boxes.ndim != 2 or boxes.shape[1] != columns:
        raise ValueError(f"{name} must have shape (N, {columns}), got {tuple(boxes.shape)}")
    if not boxes.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {boxes.dtype}; convert with .float()")


def check_floating(name: str, tensor: Tensor, shape: Sequence[str | int]) -> None:
    """Refuse anything but a floating tensor of that shape; a string is the name of a free size."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    fixed = {i: size for i, size in enumerate(shape) if isinstance(size, int)}
    if tensor.ndim != len(shape) or any(tensor.shape[i] != size for i, size in fixed.items()):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape ({wanted}), got {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}; convert with .float()")


def check_vector(name: str, values: Tensor, length: int) -> None:
    """Refuse anything but a tensor of shape (length,)."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(values).__name__}")
    if tuple(values.shape) != (length,):
        raise ValueError(
            f"{name} must have shape ({length},), one per box, got {tuple(values.shape)}"
        )


def check_same_device(**tensors: Tensor) -> None:
    """Refuse tensors on different devices."""
    if len({tensor.device for tensor in tensors.values()}) > 1:
        places = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise ValueError(f"expected one device, got {places}; move them with .to(device)")


def in_float32(tensor: Tensor) -> Tensor:
    """Raise float16 and bfloat16 to float32: box coordinates and areas overflow or round there."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
