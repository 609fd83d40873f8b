"""Operators that take NumPy arrays as well as tensors, and return what they were given."""

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_tensor", "like"]

Values = TypeVar("Values", Tensor, np.ndarray)


def as_tensor(values: Any) -> Any:
    """A tensor for an array, sharing its memory; anything else as it is."""
    return torch.as_tensor(values) if isinstance(values, np.ndarray) else values


def like(given: Values, result: Tensor) -> Values:
    """The result as an array if an array was given."""
    return result.numpy() if isinstance(given, np.ndarray) else result
