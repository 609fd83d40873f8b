"""How a stream of indices becomes batches; nothing here touches an image."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from okulo_core.data import Dataset
from okulo_core.errors import DataError

__all__ = ["grouped", "landscape_flags"]

T = TypeVar("T")


def grouped(
    stream: Iterable[T], size: int, key: Callable[[T], Hashable] = lambda item: None
) -> Iterator[list[T]]:
    """Collect a stream into batches whose members have one key.

    A batch is emitted as soon as the bucket of its key is full, so the order is kept otherwise.
    Buckets that never fill are dropped with the stream's end.

    Args:
        stream: Items, possibly endless.
        size: Items per batch.
        key: Bucket of an item; without it there is one bucket.
    """
    buckets: dict[Hashable, list[T]] = {}
    for item in stream:
        group = key(item)
        bucket = buckets.setdefault(group, [])
        bucket.append(item)
        if len(bucket) == size:
            # Emptied before the yield: the code after one may never run.
            del buckets[group]
            yield bucket


def landscape_flags(dataset: Dataset) -> np.ndarray:
    """Tell wide images from the others by the sizes in the records.

    Batches of one orientation pad less. Squares go with the upright ones.

    Returns:
        (N,) bool: width > height.

    Raises:
        DataError: If a record does not know its size.
    """
    flags = np.zeros(len(dataset), dtype=bool)
    for index in range(len(dataset)):
        record = dataset[index]
        if record.width is None or record.height is None:
            raise DataError(
                f"grouping by aspect ratio needs the size of every image, but the record of "
                f"{record.file_name} has none; give the records their width and height or set "
                f"aspect_ratio_grouping: false"
            )
        flags[index] = record.width > record.height
    return flags
