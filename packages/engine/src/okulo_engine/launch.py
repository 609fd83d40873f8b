"""Processes and devices of a run."""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from okulo_core.distributed import get_world_size
from okulo_core.errors import OkuloError

__all__ = ["choose_device", "distributed_model", "process_group"]


@contextmanager
def process_group(device: str = "auto") -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, if it did, for as long as the block lasts.

    Args:
        device: See :func:`choose_device`.

    Yields:
        The device of this process.
    """
    chosen = choose_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield chosen
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


def choose_device(name: str = "auto") -> torch.device:
    """The device of this process.

    Args:
        name: ``auto`` takes CUDA where there is any, else the CPU; ``cuda`` without a number takes
            the GPU of this process's ``LOCAL_RANK``.

    Raises:
        OkuloError: If there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OkuloError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type != "cuda":
        return device
    index = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise OkuloError(
            f"there is no device cuda:{index}, PyTorch finds {torch.cuda.device_count()} of them; "
            f"choose another with device=..., or start fewer processes"
        )
    return torch.device("cuda", index)


def distributed_model(model: nn.Module, device: torch.device) -> nn.Module:
    """The model as a step calls it: itself, or shared with the other processes."""
    if get_world_size() == 1:
        return model
    known = inspect.signature(DistributedDataParallel).parameters
    # The first is the name in newer PyTorch, which deprecates the second.
    option = next(name for name in ("forward_sync_buffers", "broadcast_buffers") if name in known)
    # Buffers stay each process's own: exchanging them costs time in every step.
    options: dict[str, Any] = {option: False}
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, **options)
