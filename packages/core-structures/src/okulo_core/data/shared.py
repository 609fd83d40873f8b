"""Many small objects in one block of shared memory."""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import torch

__all__ = ["SharedRecords"]

T = TypeVar("T")


class SharedRecords(Sequence[T], Generic[T]):
    """A read-only sequence that processes share instead of copying.

    A list of Python objects is copied page by page into every worker that only looks at it,
    because looking at an object writes its reference count (pytorch issue 13246). Here every
    item is pickled into one buffer of shared memory; a worker, forked or spawned, maps the buffer
    and rebuilds an item on access, so that each access gives a fresh object.

    Items must be picklable, nothing more. Building holds one item at a time, so that a generator
    of a million records never exists as a million objects.
    """

    def __init__(self, items: Iterable[T]) -> None:
        buffer, ends = bytearray(), [0]
        for item in items:
            buffer += pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
            ends.append(len(buffer))
        self._bounds = torch.tensor(ends, dtype=torch.int64).share_memory_()
        # frombuffer refuses zero bytes, which an empty data set has.
        data = torch.frombuffer(buffer, dtype=torch.uint8) if buffer else torch.empty(0)
        self._data = data.to(torch.uint8).share_memory_()

    @property
    def nbytes(self) -> int:
        """Bytes of shared memory in use."""
        return self._data.nbytes + self._bounds.nbytes

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} records")
        position = index % len(self)
        start, stop = self._bounds[position : position + 2].tolist()
        return pickle.loads(memoryview(self._data[start:stop].numpy()))

    def __iter__(self) -> Iterator[T]:
        return (self[position] for position in range(len(self)))
