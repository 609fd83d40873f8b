"""A data set whose samples tell which record and which random numbers made them."""

import pytest
from attrs import frozen

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.errors import DataError
from okulo_engine.loading import LoaderConfig


@frozen(kw_only=True)
class ToyDatasetConfig:
    sizes: tuple = ()
    annotated: tuple = ()  # empty: every record has one object
    crowd: tuple = ()

    def build(self):
        records = [
            ImageRecord(
                file_name=f"{i}.png",
                image_id=i,
                width=width,
                height=height,
                annotations=self._objects(i),
            )
            for i, (width, height) in enumerate(self.sizes)
        ]
        return InMemoryDataset(DatasetInfo(name="toy", thing_classes=("a",)), records)

    def _objects(self, i):
        if self.annotated and i not in self.annotated:
            return ()
        return (Annotation(bbox=(0, 0, 1, 1), category_id=0, iscrowd=int(i in self.crowd)),)


@frozen(kw_only=True)
class ToyMapperConfig:
    decline: tuple = ()
    corrupt: tuple = ()

    def build(self, info, training):
        def mapper(record, rng):
            if record.image_id in self.corrupt:
                raise DataError(f"cannot decode {record.file_name}")
            if record.image_id in self.decline:
                return None
            return {"image_id": record.image_id, "noise": float(rng.random()), "training": training}

        return mapper


SIZES = tuple((20 + 7 * (i % 3), 20 + 5 * (i % 4)) for i in range(13))  # wide, square, upright


@pytest.fixture
def toy():
    """Settings of a loader over thirteen records."""

    def config(*, sizes=SIZES, annotated=(), crowd=(), decline=(), corrupt=(), **settings):
        settings = {"batch_size": 2, "workers": 0, **settings}
        return LoaderConfig(
            dataset=ToyDatasetConfig(sizes=sizes, annotated=annotated, crowd=crowd),
            mapper=ToyMapperConfig(decline=decline, corrupt=corrupt),
            **settings,
        )

    return config


@pytest.fixture
def pretend(monkeypatch):
    """Make the loaders believe that they run as one of several processes."""

    def as_process(rank, world_size):
        for module in ("loader", "samplers"):
            monkeypatch.setattr(f"okulo_engine.loading.{module}.get_rank", lambda: rank)
            monkeypatch.setattr(f"okulo_engine.loading.{module}.get_world_size", lambda: world_size)

    return as_process
