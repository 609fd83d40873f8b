"""Samplers against detectron2's recorded orders (D2-174, D2-175, defect D2-Q21)."""

import itertools
import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from okulo_core.testing import shared_path
from okulo_engine.loading import InferenceSampler, TrainingSampler, TrainingSamplerConfig


def head(sampler, count):
    return list(itertools.islice(sampler, count))


@pytest.mark.shared
def test_training_order_is_detectron2s():
    golden = json.loads(shared_path("golden/detectron2/data/samplers.json").read_text())
    pattern = re.compile(r"training_sampler_size(\d+)_seed(\d+)_shuffle(\d)_rank(\d)of(\d)")
    cases = [(match, golden[name]) for name in golden if (match := pattern.fullmatch(name))]
    assert cases
    for match, expected in cases:
        size, seed, shuffle, rank, world = map(int, match.groups())
        sampler = TrainingSampler(size, bool(shuffle), seed, rank=rank, world_size=world)
        assert head(sampler, len(expected)) == expected, match[0]


@pytest.mark.shared
def test_inference_shares_are_detectron2s():
    golden = json.loads(shared_path("golden/detectron2/data/samplers.json").read_text())
    pattern = re.compile(r"inference_sampler_size(\d+)_rank(\d)of(\d)")
    cases = [(match, golden[name]) for name in golden if (match := pattern.fullmatch(name))]
    assert cases
    for match, expected in cases:
        size, rank, world = map(int, match.groups())
        assert list(InferenceSampler(size, rank=rank, world_size=world)) == expected, match[0]


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 40), world=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_processes_share_one_stream(size, world, seed):
    whole = head(TrainingSampler(size, True, seed, rank=0, world_size=1), 3 * size)
    for rank in range(world):
        share = TrainingSampler(size, True, seed, rank=rank, world_size=world)
        expected = whole[rank::world]
        assert head(share, len(expected)) == expected


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_each_epoch_is_a_permutation(size, seed):
    stream = head(TrainingSampler(size, seed=seed), 3 * size)
    for start in (0, size, 2 * size):
        assert sorted(stream[start : start + size]) == list(range(size))


@settings(deadline=None, max_examples=50)
@given(size=st.integers(0, 60), world=st.integers(1, 8))
def test_inference_shares_are_contiguous_complete_and_balanced(size, world):
    shares = [list(InferenceSampler(size, rank=r, world_size=world)) for r in range(world)]
    assert list(itertools.chain(*shares)) == list(range(size))
    lengths = [len(InferenceSampler(size, rank=r, world_size=world)) for r in range(world)]
    assert lengths == [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_without_shuffling_the_order_repeats():
    sampler = TrainingSampler(5, shuffle=False, seed=0, rank=1, world_size=4)
    assert head(sampler, 6) == [1, 0, 4, 3, 2, 1]


def test_the_global_random_state_neither_matters_nor_moves():
    sampler = TrainingSampler(9, seed=3)
    expected = head(sampler, 20)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert head(sampler, 20) == expected
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_one_is_drawn_once():
    sampler = TrainingSampler(50)
    assert head(sampler, 50) == head(sampler, 50)


def test_it_has_no_length():
    with pytest.raises(TypeError):
        len(TrainingSampler(3, seed=0))


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_training_set_is_refused(size):
    with pytest.raises(ValueError, match=f"at least one record, got size={size}"):
        TrainingSampler(size)


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        InferenceSampler(-1)


def test_the_config_builds_for_the_dataset(toy):
    data = toy().dataset.build()
    sampler = TrainingSamplerConfig(shuffle=False).build(data, seed=0)
    assert head(sampler, 14) == [*range(13), 0]
