"""Which record comes next, for each of several processes."""

import itertools
from collections.abc import Iterator

import torch
from attrs import frozen

from okulo_core.data import Dataset
from okulo_core.distributed import get_rank, get_world_size, shared_random_seed

__all__ = ["InferenceSampler", "TrainingSampler", "TrainingSamplerConfig"]


class TrainingSampler:
    """Endless indices of a training set, epoch after epoch, shared out over the processes.

    All processes walk one global stream - a fresh permutation of ``0..size-1`` per epoch - and
    process r of W takes its items r, r + W, r + 2W, ... The order within an epoch is that of
    ``torch.randperm`` with one generator seeded at construction, so it never depends on the
    global random state.

    Args:
        size: Number of records, at least 1.
        shuffle: False repeats 0..size-1 in order.
        seed: The same on all processes. None draws one and shares it; all processes must then
            construct the sampler.
        rank: Index of the process; None is this one.
        world_size: Number of processes; None is the number that runs.

    Raises:
        ValueError: If ``size`` is not positive.
    """

    def __init__(
        self,
        size: int,
        shuffle: bool = True,
        seed: int | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if size <= 0:
            raise ValueError(f"TrainingSampler needs at least one record, got size={size}")
        self._size = size
        self._shuffle = shuffle
        self._seed = shared_random_seed() if seed is None else seed
        self._rank = get_rank() if rank is None else rank
        self._world_size = get_world_size() if world_size is None else world_size

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(self._stream(), self._rank, None, self._world_size)

    def _stream(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            if self._shuffle:
                yield from torch.randperm(self._size, generator=generator).tolist()
            else:
                yield from range(self._size)


@frozen(kw_only=True)
class TrainingSamplerConfig:
    """Settings of :class:`TrainingSampler`."""

    shuffle: bool = True

    def build(self, dataset: Dataset, *, seed: int) -> TrainingSampler:
        """Sample ``dataset``; ``seed`` is that of the run, the same on all processes."""
        return TrainingSampler(len(dataset), self.shuffle, seed)


class InferenceSampler:
    """Each index exactly once over all processes, every process a contiguous block.

    Blocks differ in size by at most one, so no process stays idle while another has two records.

    Args:
        size: Number of records, 0 or more.
        rank: Index of the process; None is this one.
        world_size: Number of processes; None is the number that runs.
    """

    def __init__(
        self, size: int, *, rank: int | None = None, world_size: int | None = None
    ) -> None:
        if size < 0:
            raise ValueError(f"InferenceSampler needs a size of 0 or more, got {size}")
        rank = get_rank() if rank is None else rank
        world_size = get_world_size() if world_size is None else world_size
        share, longer = divmod(size, world_size)  # the first `longer` processes take one more
        start = rank * share + min(rank, longer)
        self._indices = range(start, start + share + (rank < longer))

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)
