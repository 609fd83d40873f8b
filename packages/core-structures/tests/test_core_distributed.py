"""Rows D2-252, D2-727 to D2-732: alone, and as two processes over gloo."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from okulo_core import distributed


def test_alone_the_world_is_one_process(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "5")

    assert distributed.get_world_size() == 1
    assert distributed.get_rank() == 0
    assert distributed.get_local_rank() == 0
    assert distributed.is_main_process()
    distributed.synchronize()


def test_alone_collectives_give_back_what_they_get():
    values = {"loss": torch.tensor(2.0)}

    assert distributed.all_gather("a") == ["a"]
    assert distributed.gather("a") == ["a"]
    assert distributed.broadcast_object("a") == "a"
    assert distributed.reduce_dict(values) == values
    assert distributed.reduce_dict({}) == {}


def test_alone_the_seed_follows_the_generator():
    torch.manual_seed(3)
    first = distributed.shared_random_seed()
    torch.manual_seed(3)

    assert distributed.shared_random_seed() == first
    assert 0 <= first < 2**31


WORKER = """
import json, torch, torch.distributed as dist
from okulo_core import distributed as d

dist.init_process_group("gloo")
rank = d.get_rank()
torch.manual_seed(rank)
losses = {"b": torch.tensor(10.0 * (rank + 1)), "a": torch.tensor(1.0 + rank)}
if rank:
    losses = dict(reversed(losses.items()))
result = {
    "world": d.get_world_size(),
    "rank": rank,
    "local": d.get_local_rank(),
    "main": d.is_main_process(),
    "all": d.all_gather({"rank": rank, "long": "x" * rank * 1000}),
    "gathered": d.gather(("rank", rank), dst=1),
    "broadcast": d.broadcast_object(["from", rank], src=1),
    "mean": {k: v.item() for k, v in d.reduce_dict(losses).items()},
    "sum": {k: v.item() for k, v in d.reduce_dict(losses, average=False).items()},
    "kept": losses["a"].item(),
    "seed": d.shared_random_seed(),
}
d.synchronize()
print("RESULT", json.dumps(result))
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def results():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    return [json.loads(output.partition("RESULT")[2]) for output in outputs]


def test_processes_know_their_place(results):
    assert [result["world"] for result in results] == [2, 2]
    assert [result["rank"] for result in results] == [0, 1]
    assert [result["local"] for result in results] == [0, 1]
    assert [result["main"] for result in results] == [True, False]


def test_objects_of_any_length_are_gathered_in_rank_order(results):
    expected = [{"rank": 0, "long": ""}, {"rank": 1, "long": "x" * 1000}]

    assert [result["all"] for result in results] == [expected, expected]


def test_gather_gives_nothing_off_the_destination(results):
    assert results[0]["gathered"] == []
    assert results[1]["gathered"] == [["rank", 0], ["rank", 1]]


def test_broadcast_gives_the_sources_object(results):
    assert [result["broadcast"] for result in results] == [["from", 1], ["from", 1]]


def test_reduce_pairs_names_whatever_their_order(results):
    for result in results:
        assert result["mean"] == {"a": 1.5, "b": 15.0}
        assert result["sum"] == {"a": 3.0, "b": 30.0}
    assert [result["kept"] for result in results] == [1.0, 2.0]


def test_the_seed_is_shared(results):
    assert results[0]["seed"] == results[1]["seed"]
