"""Rows D2-148 and D2-Q17: records in shared memory, also none at all, forked and spawned."""

import os
import pickle
import re
from multiprocessing.reduction import ForkingPickler

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset, SharedRecords


def make_dataset(count):
    records = (
        ImageRecord(
            file_name=f"{index}.jpg",
            image_id=index,
            annotations=[Annotation(bbox=(0.0, 0.0, 1.0, float(index)), category_id=0)],
        )
        for index in range(count)
    )
    return InMemoryDataset(DatasetInfo(name="numbers", thing_classes=("one",)), records)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(), st.text(), st.lists(st.floats(allow_nan=False)))))
def test_it_holds_what_a_list_holds(items):
    records = SharedRecords(items)

    assert list(records) == items
    assert len(records) == len(items)
    assert records[1:-1] == items[1:-1]
    assert [records[-1 - i] for i in range(len(items))] == items[::-1]


def test_no_records_are_ordinary():
    assert list(SharedRecords([])) == []
    assert len(make_dataset(0)) == 0


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match=f"index {index} is out of range for 3 records"):
        make_dataset(3)[index]


def test_each_access_gives_a_fresh_object():
    records = SharedRecords([{"a": 1}])
    records[0]["a"] = 2

    assert records[0] == {"a": 1}


@pytest.mark.parametrize(
    ("method", "workers"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.slow)]
)
def test_workers_see_the_same_records(method, workers):
    dataset = make_dataset(20)
    loader = DataLoader(
        dataset, batch_size=5, num_workers=workers, multiprocessing_context=method, collate_fn=list
    )

    assert [record for batch in loader for record in batch] == list(dataset.records)


def test_a_spawned_worker_is_sent_a_handle_and_not_the_records():
    small, large = (len(ForkingPickler.dumps(make_dataset(count))) for count in (1, 2000))

    assert abs(large - small) < 100


class Mappings:
    """Where in this process the shared buffer comes from, as the kernel sees it."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return mapped_file(self.dataset.records)


def mapped_file(records):
    address = records._data.data_ptr()
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, end = (int(part, 16) for part in re.split("[- ]", line)[:2])
            if start <= address < end:
                return line.split()[3:5]  # device and inode
    return None


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's /proc")
def test_a_forked_worker_maps_the_same_memory():
    dataset = make_dataset(20)
    loader = DataLoader(
        Mappings(dataset), num_workers=1, multiprocessing_context="fork", collate_fn=list
    )

    assert [batch[0] for batch in loader] == [mapped_file(dataset.records)] * 2


class Measured:
    """Reads every record once, then says how much memory this worker has for itself alone."""

    def __init__(self, records):
        self.records = records

    def __len__(self):
        return 1

    def __getitem__(self, index):
        before = private_bytes()
        for record in self.records:
            str(record)
        return private_bytes() - before


def private_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's /proc")
def test_a_worker_does_not_copy_what_it_reads():
    def growth(records):
        loader = DataLoader(
            Measured(records), num_workers=1, multiprocessing_context="fork", collate_fn=list
        )
        return next(iter(loader))[0]

    shared = make_dataset(50_000).records

    assert growth(shared) < 2 * 2**20  # what any code takes that runs for the first time
    assert growth(list(shared)) > 10 * 2**20  # so the measure does see copies


def test_a_plain_pickle_carries_the_records_themselves():
    dataset = make_dataset(3)

    assert list(pickle.loads(pickle.dumps(dataset)).records) == list(dataset.records)
