"""What is written reads back equal, in every format, whatever the values (row D2-138)."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from okulo_core.config import load_config, save_config, structure, unstructure


def texts():
    # TOML and YAML have no lone surrogates.
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
        [
            "1e-4",
            "null",
            "~",
            "true",
            "no",
            "010",
            "2020-01-01",
            "",
            "<<",
            "=",
            "- a",
            "a: b",
            "#",
            "\x85",
            "a\n b",
            "\u2028",
        ]
    )


def floats():
    return st.floats(allow_nan=False)


def plain(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
        max_leaves=6,
    )


def runs(toys):
    """Configurations of every shape that the toys allow."""
    resnet = st.builds(
        toys.ResNetConfig, depth=st.integers(1), norm=st.sampled_from(["BN", "FrozenBN", ""])
    )
    fpn = st.builds(toys.FPNConfig, bottom_up=resnet, out_channels=st.integers())
    focal = st.builds(toys.FocalConfig, alpha=st.floats(0, 1), gamma=st.floats(0))
    resize = st.builds(toys.ResizeConfig, short=st.integers(0, 9), long=st.integers(9, 20))
    flip = st.builds(toys.FlipConfig, probability=floats())
    model = st.builds(
        toys.DetectorConfig,
        num_classes=st.integers(),
        backbone=resnet | fpn,
        losses=st.dictionaries(texts(), focal, max_size=2),
    )
    small = st.integers(-(2**63), 2**63 - 1)
    return st.builds(
        toys.RunConfig,
        model=model,
        augmentations=st.lists(resize | flip, max_size=3).map(tuple),
        visualizer=st.none() | focal,
        steps=small,
        lr=floats(),
        deterministic=st.booleans(),
        name=texts(),
        amp=st.sampled_from(["none", "bf16", "fp16"]),
        sizes=st.lists(small, max_size=3).map(tuple),
        crop=st.none() | st.tuples(small, small),
        scale=small | floats() | st.tuples(small, small),
        weights=st.none() | st.sampled_from([toys.Path("a"), toys.Path("/b/c d")]),
        extras=st.dictionaries(texts(), floats(), max_size=2),
        checkpoint=st.builds(toys.CheckpointConfig, period=small, keep=small),
        level=st.sampled_from(toys.Level),
        anything=plain(st.booleans() | small | floats() | texts()),
    )


@pytest.fixture
def world(toys):
    toys.Path = sys.modules["pathlib"].Path
    return toys


SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@SETTINGS
@given(data=st.data())
def test_plain_data_returns_equal(data, catalog, world):
    config = data.draw(runs(world))
    assert structure(unstructure(config, catalog), world.RunConfig, catalog) == config


@pytest.mark.parametrize("suffix", ["yaml", "toml", "json"])
@SETTINGS
@given(data=st.data())
def test_a_file_returns_equal(data, suffix, catalog, world, tmp_path):
    config = data.draw(runs(world))
    path = tmp_path / f"run.{suffix}"
    save_config(config, path, catalog)
    returned = load_config(path, world.RunConfig, catalog)
    assert returned == config
    assert unstructure(returned, catalog) == unstructure(config, catalog)
