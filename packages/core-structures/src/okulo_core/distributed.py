"""Helpers over ``torch.distributed`` that also work without it, as a world of one process."""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "all_gather",
    "broadcast_object",
    "gather",
    "get_local_rank",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "reduce_dict",
    "shared_random_seed",
    "synchronize",
]

T = TypeVar("T")


def _initialized() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if _initialized() else 1


def get_rank() -> int:
    """Number of this process among all, from 0."""
    return dist.get_rank() if _initialized() else 0


def get_local_rank() -> int:
    """Number of this process on its machine: ``LOCAL_RANK`` of torchrun, else the rank."""
    return int(os.environ.get("LOCAL_RANK", get_rank())) if _initialized() else 0


def is_main_process() -> bool:
    """Whether this is the process that writes files and prints."""
    return get_rank() == 0


def synchronize() -> None:
    """Wait until every process is here."""
    if get_world_size() > 1:
        dist.barrier()


@lru_cache(maxsize=1)
def _gloo_group(world: Any) -> Any:
    """One more group beside ``world``, which is here so that a new world gets a new group."""
    return dist.new_group(backend="gloo")


def _object_group() -> Any:
    """Objects travel through main memory: NCCL would take them through a GPU."""
    world = dist.group.WORLD
    return _gloo_group(world) if dist.get_backend() == "nccl" else world


def all_gather(item: T) -> list[T]:
    """Return every process's ``item``, in rank order. Anything picklable; all must call."""
    if get_world_size() == 1:
        return [item]
    items: list[Any] = [None] * get_world_size()
    dist.all_gather_object(items, item, group=_object_group())
    return items


def gather(item: T, dst: int = 0) -> list[T]:
    """Like :func:`all_gather` on rank ``dst``; the others get an empty list."""
    if get_world_size() == 1:
        return [item]
    items: list[Any] | None = [None] * get_world_size() if get_rank() == dst else None
    dist.gather_object(item, items, dst=dst, group=_object_group())
    return items or []


def broadcast_object(item: T, src: int = 0) -> T:
    """Return the ``item`` of rank ``src`` on every process. Anything picklable; all must call."""
    if get_world_size() == 1:
        return item
    box: list[Any] = [item]
    dist.broadcast_object_list(box, src=src, group=_object_group())
    return box[0]


@torch.no_grad()
def reduce_dict(values: Mapping[str, Tensor], average: bool = True) -> dict[str, Tensor]:
    """Add up named scalars over all processes.

    Args:
        values: Scalar tensors on one device; every process must have the same names.
        average: Divide the sums by the number of processes.

    Returns:
        The same names; every process gets the same result.
    """
    if get_world_size() == 1 or not values:
        return dict(values)
    # Sorted, because processes may have filled their dictionaries in different orders.
    names = sorted(values)
    total = torch.stack([values[name].detach() for name in names])
    dist.all_reduce(total)
    if average:
        total /= get_world_size()
    return dict(zip(names, total.unbind(), strict=True))


def shared_random_seed() -> int:
    """A random seed below 2^31 that is the same on every process; all must call."""
    return broadcast_object(int(torch.randint(2**31, ()).item()))
