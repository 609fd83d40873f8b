"""The data set contract, and a data set whose records are at hand."""

from collections.abc import Iterable
from typing import Protocol

from okulo_core.data.info import DatasetInfo
from okulo_core.data.records import ImageRecord
from okulo_core.data.shared import SharedRecords

__all__ = ["Dataset", "InMemoryDataset"]


class Dataset(Protocol):
    """Images in a fixed order; a config of the kind ``dataset`` builds one with ``build()``."""

    @property
    def info(self) -> DatasetInfo:
        """What all images share."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ImageRecord: ...


class InMemoryDataset:
    """A data set whose records lie in shared memory, see :class:`SharedRecords`."""

    def __init__(self, info: DatasetInfo, records: Iterable[ImageRecord]) -> None:
        self.info = info
        self.records = SharedRecords(records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> ImageRecord:
        return self.records[index]
