"""Dotted overrides.

Rows D2-079, D2-123, D2-135, MM-090 in spirit: the command line wins over the file, values are
typed, list items can be addressed, and a path that leads nowhere is an error.
"""

import pytest

from okulo_core.config import load_config
from okulo_core.errors import ConfigError


@pytest.fixture
def run(catalog, toys, tmp_path):
    file = tmp_path / "run.yaml"

    def run(text, *overrides):
        file.write_text(text)
        return load_config(file, toys.RunConfig, catalog, overrides)

    return run


MODEL = "model: {type: detector, version: 3, num_classes: 3}\n"


def test_reaches_what_the_file_does_not_state(run):
    assert run(MODEL, "model.backbone.bottom_up.depth=18").model.backbone.bottom_up.depth == 18


def test_wins_over_the_file(run):
    assert run(MODEL + "steps: 5\n", "steps=7").steps == 7


def test_later_ones_win(run):
    assert run(MODEL, "steps=5", "steps=6").steps == 6


def test_values_are_read_as_yaml(run):
    found = run(
        MODEL, "lr=1e-4", "name='5'", "sizes=[1, 2]", "deterministic=true", "crop=null",
        "extras={a: 1}", "weights=", "anything={x: [1, y]}",
    )  # fmt: skip
    assert (found.lr, found.name, found.sizes, found.deterministic) == (1e-4, "5", (1, 2), True)
    assert (found.crop, found.extras, found.weights) == (None, {"a": 1.0}, None)
    assert found.anything == {"x": [1, "y"]}


def test_the_value_may_hold_an_equals_sign(run):
    assert run(MODEL, "name=a=b").name == "a=b"


def test_an_item_of_a_list_in_the_file(run):
    text = MODEL + "augmentations: [{type: flip}, {type: resize, short: 240}]\n"
    found = run(text, "augmentations.1.short=300", "augmentations.0.probability=1")
    assert [found.augmentations[1].short, found.augmentations[0].probability] == [300, 1.0]


def test_an_item_of_a_default_list(run, toys):
    found = run(MODEL, "augmentations.1.probability=0.1", "sizes.0=5")
    assert found.augmentations == (toys.ResizeConfig(short=800), toys.FlipConfig(probability=0.1))
    assert found.sizes == (5, 800)


def test_an_entry_of_a_mapping(run, toys):
    text = MODEL + "extras: {a: 1.0, b: 2.0}\n"
    assert run(text, "extras.b=3").extras == {"a": 1.0, "b": 3.0}
    found = run(MODEL, "model.losses.box.type=focal", "model.losses.box.gamma=1.5")
    assert found.model.losses == {"box": toys.FocalConfig(gamma=1.5)}


def test_another_type_drops_what_the_file_said_of_the_first(run, toys):
    text = MODEL.replace("}", ", backbone: {type: fpn, out_channels: 8}}")
    found = run(text, "model.backbone.type=resnet", "model.backbone.depth=34")
    assert found.model.backbone == toys.ResNetConfig(depth=34)


def test_the_same_type_keeps_what_the_file_said(run):
    text = MODEL.replace("}", ", backbone: {type: fpn, out_channels: 8}}")
    assert run(text, "model.backbone.type=fpn").model.backbone.out_channels == 8


def test_a_mapping_merges_like_a_file(run):
    text = MODEL + "checkpoint: {period: 5}\n"
    assert run(text, "checkpoint={keep: 9}").checkpoint.period == 5


def test_null_can_become_a_component(run, toys):
    text = MODEL + "visualizer: null\n"
    assert run(text, "visualizer.type=focal").visualizer == toys.FocalConfig()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "steps: expected PATH=VALUE, such as model.backbone.depth=101"),
        ("=3", "=3: expected PATH=VALUE"),
        ("a..b=3", "a..b=3: expected PATH=VALUE"),
        ("sizes=[1", "sizes=[1: line 1: expected ',' or ']'"),
        ("steps.x=3", "steps.x=3: steps is 7, neither a mapping nor a list"),
        ("sizes.2=3", "sizes.2=3: sizes has 2 items, so there is no index 2; the first is 0"),
        ("sizes.-1=3", "sizes.-1=3: sizes is a list of 2 items; expected an index, got '-1'"),
        ("augmentations.2.p=3", "augmentations.2: no such index: the list has 2 items"),
        ("augmentations.x.p=3", "augmentations.x: no such index: the list has 2 items"),
        ("lr.x=3", "lr: expected float, got {'x': 3}"),
        ("model.backbone.dept.x=1", "model.backbone.dept: unknown key"),
        ("steps=a", "steps: expected int, got 'a'"),
    ],
)
def test_a_wrong_override_says_why(run, override, message):
    with pytest.raises(ConfigError) as caught:
        run(MODEL + "steps: 7\nsizes: [1, 2]\n", override)
    assert message in str(caught.value)


def test_every_wrong_override_is_reported(run):
    with pytest.raises(ConfigError) as caught:
        run(MODEL, "steps", "sizes=[1")
    assert len(caught.value.problems) == 2
