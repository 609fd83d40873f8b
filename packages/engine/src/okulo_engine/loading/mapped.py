"""From an index to a sample, inside a worker."""

import logging
from typing import NamedTuple

import numpy as np
from attrs import frozen

from okulo_core.data import Dataset
from okulo_core.errors import DataError, OkuloError
from okulo_core.protocols import Mapper, Sample

__all__ = ["Failure", "MappedDataset", "Place"]

_logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """One draw of the sampler: where it stands in the global stream, and which record it is."""

    position: int
    record: int


@frozen
class Failure:
    """An error on its way from a worker to the user.

    Raised inside a worker it would arrive wrapped in the worker's traceback.
    """

    error: OkuloError


class MappedDataset:
    """Maps records to samples; a sample depends on the seed and its position, on nothing else.

    A record that the mapper declines (None) is replaced by another, drawn by the same law.
    """

    def __init__(self, dataset: Dataset, mapper: Mapper, seed: int) -> None:
        self._dataset = dataset
        self._mapper = mapper
        self._seed = seed

    def __getitem__(self, place: Place) -> Sample | Failure:
        try:
            return self._sample(place)
        except OkuloError as error:
            return Failure(error)

    def _sample(self, place: Place) -> Sample:
        rng = np.random.default_rng((self._seed, place.position))
        sample = self._mapper(self._dataset[place.record], rng)
        return self._replacement(place, rng) if sample is None else sample

    def _replacement(self, place: Place, rng: np.random.Generator) -> Sample:
        for attempt, index in enumerate(rng.permutation(len(self._dataset)).tolist()):
            if attempt == 2:
                name = self._dataset[place.record].file_name
                _logger.warning("the mapper declined %s and two replacements", name)
            sample = self._mapper(self._dataset[index], rng)
            if sample is not None:
                return sample
        raise DataError(
            f"the mapper declined all {len(self._dataset)} records of {self._dataset.info.name}; "
            f"check its filters against the data"
        )
