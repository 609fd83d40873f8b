"""Loaders: streams, workers, resuming, bad data (D2-044, D2-143 to D2-146, D2-149)."""

import itertools
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from okulo_core.data import DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.errors import ConfigError, DataError
from okulo_engine.loading import build_test_loader, build_train_loader


def head(loader, count):
    return list(itertools.islice(loader, count))


def ids(batches):
    return [[sample["image_id"] for sample in batch] for batch in batches]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than there are cores
def test_batches_do_not_depend_on_the_number_of_workers(toy):
    one, *others = (head(build_train_loader(toy(workers=n), seed=5), 12) for n in (0, 1, 3))
    assert all(other == one for other in others)


def test_a_resumed_stream_continues_the_uninterrupted_one(toy):
    whole = head(build_train_loader(toy(), seed=5), 15)
    for start in (1, 6, 14):
        resumed = build_train_loader(toy(workers=2), seed=5, start_batch=start)
        assert head(resumed, 15 - start) == whole[start:]


def test_resuming_opens_no_image(toy):
    config = toy(corrupt=range(13), workers=0)
    loader = build_train_loader(config, seed=0, start_batch=1000)
    with pytest.raises(DataError):
        next(iter(loader))


def test_the_seed_decides(toy):
    assert head(build_train_loader(toy(), seed=1), 6) == head(build_train_loader(toy(), seed=1), 6)
    assert ids(head(build_train_loader(toy(), seed=1), 6)) != ids(
        head(build_train_loader(toy(), seed=2), 6)
    )


def test_a_record_draws_other_numbers_in_each_epoch(toy):
    batches = head(build_train_loader(toy(aspect_ratio_grouping=False), seed=0), 26)
    drawn = [sample["noise"] for batch in batches for sample in batch]
    assert len(set(drawn)) == len(drawn)


def test_processes_together_see_what_one_sees(toy, pretend):
    config = toy(batch_size=4, aspect_ratio_grouping=False)
    whole = head(build_train_loader(config, seed=3), 9)
    shares = []
    for rank in (0, 1):
        pretend(rank, 2)
        shares.append(head(build_train_loader(config, seed=3), 9))
    for batch, first, second in zip(whole, *shares, strict=True):
        assert batch[0::2] == first
        assert batch[1::2] == second


def test_each_process_groups_its_own_stream(toy, pretend):
    pretend(1, 2)
    config = toy(batch_size=4)
    sizes = config.dataset.sizes
    for batch in ids(head(build_train_loader(config, seed=3), 12)):
        assert len(batch) == 2
        assert len({sizes[i][0] > sizes[i][1] for i in batch}) == 1


def test_a_batch_that_cannot_be_shared_is_refused(toy, pretend):
    pretend(0, 2)
    with pytest.raises(ConfigError, match=r"a multiple of the 2 processes, .* got 3"):
        build_train_loader(toy(batch_size=3), seed=0)


def test_images_with_nothing_to_learn_are_left_out(toy):
    config = toy(annotated=(2, 5, 7, 8), crowd=(8,), aspect_ratio_grouping=False)
    seen = {i for batch in ids(head(build_train_loader(config, seed=0), 30)) for i in batch}
    assert seen == {2, 5, 7}
    everything = evolve(config, filter_empty=False)
    seen = {i for batch in ids(head(build_train_loader(everything, seed=0), 30)) for i in batch}
    assert seen == set(range(13))


def test_nothing_left_to_train_on_is_an_error(toy):
    config = toy(annotated=(0,), crowd=(0,))
    with pytest.raises(DataError, match=r"none of the 13 images .*'toy' has an annotation"):
        build_train_loader(config, seed=0)


def test_an_empty_training_set_is_an_error(toy):
    with pytest.raises(DataError, match="'toy' is empty"):
        build_train_loader(toy(sizes=()), seed=0)


def test_a_dataset_without_object_classes_is_not_filtered(toy):
    records = [ImageRecord(file_name="a.png", image_id=3, width=4, height=4)]
    stuff = InMemoryDataset(DatasetInfo(name="stuff", stuff_classes=("sky",)), records)
    loader = build_train_loader(toy(batch_size=1), seed=0, dataset=stuff)
    assert ids(head(loader, 2)) == [[3], [3]]


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_data_is_reported_in_its_own_words(toy, workers):
    loader = build_train_loader(toy(corrupt=range(13), workers=workers), seed=0)
    with pytest.raises(DataError) as caught:
        next(iter(loader))
    assert "cannot decode" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_declined_record_is_replaced_the_same_way_each_time(toy):
    config = toy(decline=(0, 1, 2, 3, 4, 5), aspect_ratio_grouping=False)
    first = head(build_train_loader(config, seed=0), 13)
    assert {i for batch in ids(first) for i in batch} <= set(range(6, 13))
    assert head(build_train_loader(evolve(config, workers=2), seed=0), 13) == first


def test_a_mapper_that_declines_everything_is_an_error(toy):
    loader = build_train_loader(toy(decline=range(13)), seed=0)
    with pytest.raises(DataError, match="declined all 13 records of toy"):
        next(iter(loader))


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_random_state_alone(toy, workers):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    head(build_train_loader(toy(workers=workers), seed=0), 3)
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_workers_have_random_states_of_their_own(toy):
    @frozen
    class Draws:
        def build(self, info, training):
            return lambda record, rng: {
                "drawn": (random.random(), float(np.random.rand()), float(torch.rand(())))
            }

    config = evolve(toy(batch_size=1, workers=2), mapper=Draws())
    drawn = [batch[0]["drawn"] for batch in head(build_train_loader(config, seed=0), 4)]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == 4


def test_workers_compute_on_one_thread(toy, monkeypatch):
    opencv = SimpleNamespace(threads=8)
    opencv.setNumThreads = lambda count: setattr(opencv, "threads", count)
    monkeypatch.setitem(sys.modules, "cv2", opencv)

    @frozen
    class Threads:
        def build(self, info, training):
            return lambda record, rng: {"threads": (torch.get_num_threads(), opencv.threads)}

    config = evolve(toy(batch_size=1, workers=1), mapper=Threads())
    assert head(build_train_loader(config, seed=0), 1) == [[{"threads": (1, 0)}]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_test_sees_each_record_once_in_order(toy, workers):
    loader = build_test_loader(toy(batch_size=4, workers=workers, annotated=(3,)))
    batches = list(loader)
    assert ids(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]
    assert len(loader) == 4
    assert not any(sample["training"] for batch in batches for sample in batch)
    assert list(loader) == batches


def test_processes_share_a_test_in_blocks(toy, pretend):
    blocks = []
    for rank in range(4):
        pretend(rank, 4)
        blocks.append(ids(build_test_loader(toy(batch_size=1))))
    assert [[i for batch in block for i in batch] for block in blocks] == [
        [0, 1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
        [10, 11, 12],
    ]


def test_an_empty_test_set_gives_no_batches(toy):
    loader = build_test_loader(toy(sizes=(), workers=1))
    assert list(loader) == []
    assert len(loader) == 0


@pytest.mark.parametrize("setting", [{"batch_size": 0}, {"workers": -1}])
def test_impossible_settings_are_refused(toy, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        toy(**setting)
