"""Grouping by aspect ratio (D2-178, D2-179, defect D2-Q22)."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okulo_core.data import DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.errors import DataError
from okulo_core.testing import shared_path
from okulo_engine.loading import grouped, landscape_flags


def dataset(*sizes):
    records = [
        ImageRecord(file_name=f"{i}.png", image_id=i, width=w, height=h)
        for i, (w, h) in enumerate(sizes)
    ]
    return InMemoryDataset(DatasetInfo(name="toy"), records)


def by_orientation(data, size):
    wide = landscape_flags(data)
    return list(grouped(range(len(data)), size, lambda index: bool(wide[index])))


@pytest.mark.shared
def test_batches_are_detectron2s():
    path = shared_path("golden/detectron2/data/samplers.json")
    golden = SimpleNamespace(**json.loads(path.read_text())["aspect_ratio_grouping"])
    data = dataset(*((item["width"], item["height"]) for item in golden.items))
    assert by_orientation(data, golden.batch_size) == golden.batches_of_ids


def test_squares_go_with_upright_images_and_the_rest_waits():
    assert by_orientation(dataset((2, 1), (1, 1), (3, 1), (1, 2), (5, 1)), 2) == [[0, 2], [1, 3]]


@settings(deadline=None, max_examples=50)
@given(
    groups=st.lists(st.integers(0, 3), max_size=60),
    size=st.integers(1, 5),
)
def test_batches_are_pure_ordered_and_nearly_complete(groups, size):
    batches = list(grouped(range(len(groups)), size, lambda index: groups[index]))
    for batch in batches:
        assert len(batch) == size
        assert len({groups[index] for index in batch}) == 1
    for group in set(groups):
        members = [index for index in range(len(groups)) if groups[index] == group]
        emitted = [index for batch in batches for index in batch if groups[index] == group]
        assert emitted == members[: len(members) // size * size]


def test_without_a_key_the_order_is_kept_and_the_incomplete_batch_dropped():
    assert list(grouped(range(5), 2)) == [[0, 1], [2, 3]]


def test_a_batch_is_not_repeated_to_a_consumer_that_stops():
    stream = iter(range(100))
    assert next(grouped(stream, 2)) == [0, 1]
    assert next(grouped(stream, 2)) == [2, 3]


def test_no_records():
    flags = landscape_flags(dataset())
    assert flags.shape == (0,)
    assert flags.dtype == np.bool_


def test_a_record_without_size_is_named():
    with pytest.raises(DataError, match=r"0\.png has none; .*aspect_ratio_grouping: false"):
        landscape_flags(dataset((None, None)))
