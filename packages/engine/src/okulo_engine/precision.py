"""Mixed precision by PyTorch's autocast and gradient scaling."""

from collections.abc import Callable
from functools import partial

import torch
from torch.amp import GradScaler

__all__ = ["autocast_for", "scaler_for"]

DTYPES = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_for(amp: str, device: torch.device) -> Callable[[], torch.autocast]:
    """What makes the context of a forward pass in ``amp``: none, bf16 or fp16."""
    dtype = DTYPES[amp]
    return partial(torch.autocast, device.type, dtype=dtype, enabled=dtype is not None)


def scaler_for(amp: str, device: torch.device) -> GradScaler:
    """Gradients in fp16 underflow unless the loss is scaled; in other precisions it is not."""
    return GradScaler(device.type, enabled=amp == "fp16")
