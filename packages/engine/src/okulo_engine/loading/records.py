"""A part of a dataset, and which part training uses."""

from collections.abc import Sequence

import numpy as np

from okulo_core.data import Dataset, DatasetInfo, ImageRecord

__all__ = ["Subset", "annotated_indices"]


class Subset:
    """The records of a dataset at given indices, in that order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self._dataset = dataset
        # An array, because looking at a list's items makes each worker copy their memory.
        self._indices = np.asarray(indices, dtype=np.int64)

    @property
    def info(self) -> DatasetInfo:
        return self._dataset.info

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> ImageRecord:
        return self._dataset[int(self._indices[index])]


def annotated_indices(dataset: Dataset) -> list[int]:
    """Indices of the records with at least one annotation or segment that is not a crowd."""
    return [index for index in range(len(dataset)) if _annotated(dataset[index])]


def _annotated(record: ImageRecord) -> bool:
    objects = any(not annotation.iscrowd for annotation in record.annotations)
    return objects or any(not segment.get("iscrowd") for segment in record.segments_info)
