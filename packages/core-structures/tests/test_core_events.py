"""Rows D2-072, D2-249 and FR-322, as far as a model sees them."""

import threading

import pytest
import torch

from okulo_core.events import EventStorage, get_event_storage, log_scalar, log_scalars


def test_a_model_reports_to_the_active_storage():
    with EventStorage(start_step=7) as storage:
        log_scalar("accuracy", 0.5)
        storage.step = 8
        log_scalars({"loss": torch.tensor(2.0, requires_grad=True)})

    assert storage.latest() == {"accuracy": (0.5, 7), "loss": (2.0, 8)}


def test_without_a_storage_a_report_is_nothing():
    assert log_scalar("accuracy", 0.5) is None
    assert log_scalars({"loss": 1.0}) is None


def test_the_innermost_storage_is_active():
    with EventStorage() as outer, EventStorage() as inner:
        assert get_event_storage() is inner
        log_scalar("x", 1)

    assert outer.latest() == {}
    assert inner.latest() == {"x": (1.0, 0)}


def test_asking_for_a_storage_where_there_is_none_is_an_error():
    with pytest.raises(RuntimeError, match="no EventStorage is active"):
        get_event_storage()


def test_a_storage_ends_with_its_block_also_after_an_error():
    with pytest.raises(KeyError), EventStorage():
        raise KeyError

    log_scalar("x", 1)
    with pytest.raises(RuntimeError):
        get_event_storage()


def test_a_tensor_is_kept_without_its_graph():
    with EventStorage() as storage:
        storage.put_scalars(loss=torch.ones((), requires_grad=True) * 2)

    assert not storage._latest["loss"][0].requires_grad


def test_threads_do_not_see_each_others_storages():
    seen = []

    def look():
        log_scalar("x", 1)
        seen.append(True)

    with EventStorage() as storage:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    assert seen == [True]
    assert storage.latest() == {}
