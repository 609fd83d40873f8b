"""Training and test loaders, and their configuration."""

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from attrs.validators import ge
from torch.utils.data import DataLoader

from okulo_core.config import part
from okulo_core.data import Dataset
from okulo_core.distributed import get_rank, get_world_size
from okulo_core.errors import ConfigError, DataError
from okulo_core.protocols import Mapper, Sample
from okulo_engine.loading.batching import grouped, landscape_flags
from okulo_engine.loading.mapped import Failure, MappedDataset, Place
from okulo_engine.loading.records import Subset, annotated_indices
from okulo_engine.loading.samplers import InferenceSampler, TrainingSamplerConfig

__all__ = ["Loader", "LoaderConfig", "build_test_loader", "build_train_loader"]

_logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class LoaderConfig:
    """Where samples come from and how they are batched, for training or for testing.

    The sampler, the grouping and the filter concern training only: a test sees every record once,
    in order. A sampler's configuration has ``build(dataset, seed=...)``, which returns the endless
    indices of this process; the k-th of process r of W stands at r + k W of the global stream.
    """

    dataset: Any = part("dataset")
    mapper: Any = part("mapper")
    batch_size: int = field(default=1, validator=ge(1))  # images per step over all processes
    workers: int = field(default=2, validator=ge(0))  # per process; 0 loads in the process itself
    sampler: Any = part("sampler", default=TrainingSamplerConfig())
    aspect_ratio_grouping: bool = True  # do not mix wide and upright images in a batch
    filter_empty: bool = True  # leave out images without any object to learn from


class Loader:
    """Batches as plain lists of samples, loaded by worker processes.

    What a worker says about bad data reaches the caller as that very error.

    Args:
        samples: Map-style source, asked for places.
        batches: Places of each batch; iterated anew for each pass.
        workers: Number of worker processes; 0 loads in this one.
        seed: Seeds the global random generators of the workers (a mapper should not use them).
    """

    def __init__(
        self, samples: MappedDataset, batches: Iterable[list[Place]], *, workers: int, seed: int
    ) -> None:
        self._loader: DataLoader[Any] = DataLoader(
            samples,  # type: ignore[arg-type]
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=_as_it_is,
            worker_init_fn=_quiet_worker,
            persistent_workers=workers > 0,
            # With a generator of its own, opening a loader leaves the global random state alone.
            generator=_generator(seed),
        )
        self._batches = batches

    def __iter__(self) -> Iterator[list[Sample]]:
        for batch in self._loader:
            for sample in batch:
                if isinstance(sample, Failure):
                    raise sample.error
            yield batch

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]


def build_train_loader(
    config: LoaderConfig, *, seed: int, start_batch: int = 0, dataset: Dataset | None = None
) -> Loader:
    """Endless training batches of this process.

    The stream depends on ``config``, ``seed`` and the number of processes, not on the number of
    workers; the sample at position p of the global stream is mapped with
    ``numpy.random.default_rng((seed, p))``.

    Args:
        config: What to load.
        seed: At least 0, the same on all processes.
        start_batch: Batches already consumed; they are skipped without opening an image.
        dataset: A dataset that is open already, in place of ``config.dataset``.

    Raises:
        ConfigError: If the batch cannot be shared equally by the processes.
        DataError: If no record remains, or while iterating, if an image cannot be used.
    """
    size = _share_of_batch(config.batch_size)
    data = _training_part(config, config.dataset.build() if dataset is None else dataset)
    mapper = config.mapper.build(data.info, training=True)
    batches = _TrainingBatches(
        sampler=config.sampler.build(data, seed=seed),
        size=size,
        wide=landscape_flags(data) if config.aspect_ratio_grouping else None,
        start=start_batch,
    )
    return _loader(data, mapper, batches, config, seed)


def build_test_loader(config: LoaderConfig, dataset: Dataset | None = None) -> Loader:
    """Each record once, in order, every process its contiguous share.

    A process holds ``batch_size / processes`` images at a time, at least one; the last batch may
    be shorter.

    Args:
        config: What to load.
        dataset: A dataset that is open already, in place of ``config.dataset``.
    """
    data = config.dataset.build() if dataset is None else dataset
    mapper = config.mapper.build(data.info, training=False)
    places = [Place(index, index) for index in InferenceSampler(len(data))]
    size = max(1, config.batch_size // get_world_size())
    batches = [places[start : start + size] for start in range(0, len(places), size)]
    return _loader(data, mapper, batches, config, seed=0)


class _TrainingBatches:
    """Places of the training batches of this process, from ``start`` on."""

    def __init__(
        self, *, sampler: Iterable[int], size: int, wide: np.ndarray | None, start: int
    ) -> None:
        self._sampler = sampler
        self._size = size
        self._wide = wide
        self._start = start

    def __iter__(self) -> Iterator[list[Place]]:
        positions = itertools.count(get_rank(), get_world_size())
        stream = itertools.starmap(Place, zip(positions, self._sampler, strict=False))
        batches = grouped(stream, self._size, self._orientation)
        return itertools.islice(batches, self._start, None)

    def _orientation(self, place: Place) -> bool:
        return self._wide is not None and bool(self._wide[place.record])


def _training_part(config: LoaderConfig, dataset: Dataset) -> Dataset:
    """Leave out what has nothing to learn from, where the dataset is one of objects at all."""
    name = dataset.info.name
    if len(dataset) == 0:
        raise DataError(f"the training set {name!r} is empty")
    if not (config.filter_empty and dataset.info.thing_classes):
        return dataset
    indices = annotated_indices(dataset)
    if not indices:
        raise DataError(
            f"none of the {len(dataset)} images of the training set {name!r} has an annotation "
            f"that is not a crowd; check the annotation file, or set filter_empty: false"
        )
    if len(indices) == len(dataset):
        return dataset
    _logger.info("%s: %d of %d images have annotations", name, len(indices), len(dataset))
    return Subset(dataset, indices)


def _share_of_batch(batch_size: int) -> int:
    world_size = get_world_size()
    if batch_size % world_size:
        raise ConfigError(
            f"train_data.batch_size: expected a multiple of the {world_size} processes, whose "
            f"images it counts together, got {batch_size}"
        )
    return batch_size // world_size


def _loader(
    data: Dataset, mapper: Mapper, batches: Iterable[list[Place]], config: LoaderConfig, seed: int
) -> Loader:
    samples = MappedDataset(data, mapper, seed)
    return Loader(samples, batches, workers=config.workers, seed=seed)


def _generator(seed: int) -> torch.Generator:
    (state,) = np.random.SeedSequence((seed, get_rank())).generate_state(1)
    return torch.Generator().manual_seed(int(state))


def _as_it_is(batch: list[Any]) -> list[Any]:
    return batch


def _quiet_worker(worker_id: int) -> None:
    """One thread per worker: PyTorch sees to its own, OpenCV has to be told."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)
