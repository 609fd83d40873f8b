"""Plain data becomes typed configurations, strictly.

Rows D2-077, D2-116, D2-124, D2-125, FV-079 in spirit: typed, and refused where it does not fit;
D2-Q11: a configuration cannot be changed after it was made.
"""

from enum import Enum
from pathlib import Path

import attrs
import pytest

from okulo_core.config import part, structure, structure_part
from okulo_core.errors import ConfigError


@pytest.fixture
def run(catalog, toys, detector):
    return lambda **data: structure({"model": detector, **data}, toys.RunConfig, catalog)


@pytest.fixture
def faults(run):
    def faults(**data):
        with pytest.raises(ConfigError) as caught:
            run(**data)
        return list(caught.value.problems)

    return faults


def test_python_and_plain_data_state_the_same_run(run, toys):
    stated = run(
        model={
            "type": "detector",
            "num_classes": 3,
            "backbone": {"type": "fpn", "bottom_up": {"type": "resnet", "depth": 18}},
            "losses": {"box": {"type": "focal", "gamma": 1}},
        },
        augmentations=[{"type": "flip"}, {"type": "resize", "short": 240, "long": 400}],
        weights="a/b.pth",
        crop=[3, 4],
        level="HIGH",
        checkpoint={"keep": None},
    )
    composed = toys.RunConfig(
        model=toys.DetectorConfig(
            num_classes=3,
            backbone=toys.FPNConfig(bottom_up=toys.ResNetConfig(depth=18)),
            losses={"box": toys.FocalConfig(gamma=1.0)},
        ),
        augmentations=(toys.FlipConfig(), toys.ResizeConfig(short=240, long=400)),
        weights=Path("a/b.pth"),
        crop=(3, 4),
        level=toys.Level.HIGH,
        checkpoint=toys.CheckpointConfig(keep=None),
    )
    assert stated == composed


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("steps", "800", "steps: expected int, got '800'"),
        ("steps", 3.7, "steps: expected int, got 3.7"),
        ("steps", True, "steps: expected int, got True"),
        ("steps", None, "steps: expected int, got None"),
        ("lr", "1e-4", "lr: expected float, got '1e-4'"),
        ("lr", False, "lr: expected float, got False"),
        ("deterministic", "false", "deterministic: expected bool, got 'false'"),
        ("deterministic", 0, "deterministic: expected bool, got 0"),
        ("name", None, "name: expected str, got None"),
        ("name", 5, "name: expected str, got 5"),
        ("amp", "bf61", "amp: expected 'none' or 'bf16' or 'fp16', got 'bf61'; did you mean 'bf16"),
        ("level", "LWO", "level: expected 'LOW' or 'HIGH', got 'LWO'; did you mean 'LOW'?"),
        ("level", 1, "level: expected 'LOW' or 'HIGH', got 1"),
        ("sizes", 640, "sizes: expected a list, got 640"),
        ("sizes", "640", "sizes: expected a list, got '640'"),
        ("sizes", [640, "800"], "sizes.1: expected int, got '800'"),
        ("crop", [1, 2, 3], "crop: Too many values in [1, 2, 3] to structure as tuple[int, int]"),
        ("scale", "x", "scale: expected int | float | tuple[int, int], got 'x'"),
        ("weights", 3, "weights: expected a path, got 3"),
        ("extras", [1], "extras: expected a mapping, got [1]"),
        ("extras", {"a": "b"}, "extras.a: expected float, got 'b'"),
        ("checkpoint", 200, "checkpoint: expected a mapping with the keys of CheckpointConfig"),
        ("checkpoint", {"keep": "all"}, "checkpoint.keep: expected int, got 'all'"),
        ("visualizer", 3, "visualizer: expected a mapping with the key 'type' for a loss, got 3"),
        ("model", "detector", "model: expected {type: detector} for a model, got 'detector'"),
        ("augmentations", {"type": "flip"}, "augmentations: expected a list, got {'type': 'flip'}"),
        ("augmentations", ["flip"], "augmentations.0: expected {type: flip} for an augmentation"),
        ("augmentations", [{}], "augmentations.0: needs the key 'type' to choose an augmentation"),
    ],
)  # fmt: skip
def test_nothing_is_coerced(faults, key, value, message):
    (fault,) = faults(**{key: value})
    assert message in fault


@pytest.mark.parametrize("value", [2, 2.5, (1, 2)])
def test_a_union_keeps_the_type_that_is_stated(run, value):
    stated = list(value) if isinstance(value, tuple) else value
    assert run(scale=stated).scale == value
    assert type(run(scale=stated).scale) is type(value)


def test_an_int_is_a_float_where_a_float_is_expected(run):
    assert type(run(lr=1).lr) is float


def test_every_fault_is_reported_at_once_with_its_path(faults):
    found = faults(
        model={
            "type": "detector",
            "version": 3,
            "backbone": {"bottom_up": {"depht": 18, "norm": "GN"}, "out_channels": "256"},
            "losses": {"box": {"type": "focal", "alpha": 2.0, "gamma": -1.0}},
        },
        augmentations=[{"type": "flip"}, {"type": "resize"}],
        setps=3,
    )
    assert found == [
        "model.num_classes: is required and has no default",
        "model.backbone.bottom_up.norm: expected 'BN' or 'FrozenBN' or '', got 'GN'",
        "model.backbone.bottom_up.depht: unknown key; did you mean 'depth'?",
        "model.backbone.out_channels: expected int, got '256'",
        "model.losses.box.alpha: 'alpha' must be <= 1.0: 2.0",
        "model.losses.box.gamma: 'gamma' must be >= 0.0: -1.0",
        "augmentations.1.short: is required and has no default",
        "setps: unknown key; did you mean 'steps' or 'sizes'?",
    ]


def test_validators_run_beside_other_faults_of_the_same_component(faults):
    loss = {"type": "focal", "alpha": 2.0, "gamma": "x"}
    assert faults(visualizer=loss) == [
        "visualizer.alpha: 'alpha' must be <= 1.0: 2.0",
        "visualizer.gamma: expected float, got 'x'",
    ]


def test_a_check_over_several_fields_names_the_component(faults):
    resize = {"type": "resize", "short": 800, "long": 400}
    assert faults(augmentations=[resize]) == [
        "augmentations.0: long (400) must be at least short (800)"
    ]


def test_a_key_far_from_any_lists_all(faults):
    assert faults(checkpoint={"zzz": 1}) == ["checkpoint.zzz: unknown key; there are: period, keep"]


def test_an_unknown_component_is_reported_with_its_path(faults):
    assert faults(visualizer={"type": "focla"}) == [
        "visualizer.type: no loss named 'focla'; did you mean 'focal'?"
    ]


def test_a_component_of_another_kind_is_reported_with_its_path(faults):
    assert faults(visualizer={"type": "fpn"}) == [
        "visualizer.type: no loss named 'fpn'; 'fpn' is a backbone"
    ]


def test_a_type_that_is_no_text_is_refused(faults):
    assert faults(visualizer={"type": 3}) == ["visualizer.type: expected the name of a loss, got 3"]


class TestDefaults:
    def test_a_mapping_without_type_changes_the_default(self, run, detector):
        found = run(model={**detector, "backbone": {"bottom_up": {"norm": "FrozenBN"}}})
        assert found.model.backbone.bottom_up.depth == 101  # FPNConfig's own default
        assert found.model.backbone.bottom_up.norm == "FrozenBN"

    def test_a_mapping_with_the_default_type_changes_the_default(self, run, detector):
        bottom_up = {"type": "resnet", "norm": "FrozenBN"}
        found = run(model={**detector, "backbone": {"bottom_up": bottom_up}})
        assert found.model.backbone.bottom_up.depth == 101

    def test_another_type_starts_from_its_own_defaults(self, run, detector, toys):
        found = run(model={**detector, "backbone": {"type": "resnet"}})
        assert found.model.backbone == toys.ResNetConfig(depth=50)

    def test_a_distribution_may_be_named(self, run, detector):
        found = run(model={**detector, "backbone": {"type": "okulo-toys:resnet"}})
        assert found.model.backbone.depth == 50

    def test_a_list_replaces_the_default(self, run, toys):
        assert run(augmentations=[{"type": "flip"}]).augmentations == (toys.FlipConfig(),)
        assert run(augmentations=[]).augmentations == ()

    def test_an_optional_component_may_be_null(self, run, toys):
        assert run(visualizer=None).visualizer is None
        assert run(visualizer={"type": "focal"}).visualizer == toys.FocalConfig()

    def test_a_plain_mapping_replaces_the_default(self, catalog, toys):
        holder = attrs.make_class(
            "Holder", {"extras": attrs.field(factory=lambda: {"a": 1.0}, type=dict[str, float])}
        )
        assert structure({"extras": {"b": 2.0}}, holder, catalog).extras == {"b": 2.0}


def test_one_component_can_be_read_alone(catalog, toys):
    assert structure_part({"type": "resnet", "depth": 18}, "backbone", catalog) == (
        toys.ResNetConfig(depth=18)
    )


def test_integer_keys_may_be_text(catalog):
    holder = attrs.make_class("Holder", {"names": attrs.field(type=dict[int, str])})
    assert structure({"names": {"1": "a", 2: "b"}}, holder, catalog).names == {1: "a", 2: "b"}


@pytest.mark.parametrize(("cls", "value"), [(complex, 1), (bytes, 3), (set[str], "ab")])
def test_a_type_that_files_cannot_state_is_refused(catalog, cls, value):
    holder = attrs.make_class("Holder", {"value": attrs.field(type=cls)})
    message = f"value: a value of type {cls.__name__} has no form in files"
    with pytest.raises(ConfigError, match=message):
        structure({"value": value}, holder, catalog)


def test_a_default_needs_no_form_in_files(catalog):
    fields = {"x": attrs.field(type=int), "y": attrs.field(default=2j, type=complex)}
    inner = attrs.make_class("Inner", fields)
    holder = attrs.make_class("Holder", {"inner": attrs.field(default=inner(1, 3j), type=inner)})
    assert structure({"inner": {"x": 5}}, holder, catalog).inner == inner(5, 3j)


@pytest.mark.parametrize("mixin", [int, str])
def test_members_of_an_enumeration_of_scalars_are_stated_as_others(catalog, mixin):
    level = Enum("Level", {"LOW": mixin(1), "HIGH": mixin(2)}, type=mixin)
    holder = attrs.make_class("Holder", {"level": attrs.field(type=level)})
    stated = "HIGH" if mixin is int else "2"
    assert structure({"level": stated}, holder, catalog).level is level.HIGH
    with pytest.raises(ConfigError, match="level: expected"):
        structure({"level": 2}, holder, catalog)


def test_a_field_may_have_any_name(catalog):
    names = ["cl", "converter", "attrs", "errors", "res", "o", "_private"]
    holder = attrs.make_class("Holder", {name: attrs.field(type=int) for name in names})
    data = {name.lstrip("_"): index for index, name in enumerate(names)}
    assert structure(data, holder, catalog) == holder(*range(len(names)))


def test_a_check_that_needs_another_field_is_told_once(catalog):
    def above_low(instance, attribute, value):
        if value < instance.low:
            raise ValueError(f"high ({value}) is below low ({instance.low})")

    holder = attrs.make_class(
        "Holder",
        {"low": attrs.field(type=int), "high": attrs.field(type=int, validator=above_low)},
    )
    with pytest.raises(ConfigError) as caught:
        structure({"low": 2, "high": 1}, holder, catalog)
    assert caught.value.problems == ("high (1) is below low (2)",)


def test_an_annotation_that_names_nothing_is_refused(catalog):
    holder = attrs.make_class("Holder", {"value": attrs.field(type="Nowhere")})
    with pytest.raises(ConfigError, match=r"value: Holder\.value has the type 'Nowhere'"):
        structure({"value": 1}, holder, catalog)


def test_a_whole_that_is_no_mapping_is_refused(catalog, toys):
    with pytest.raises(
        ConfigError, match=r"expected a mapping with the keys of RunConfig, got \[1"
    ):
        structure([1], toys.RunConfig, catalog)


class TestInPython:
    def test_a_built_object_in_place_of_its_configuration_is_refused(self, toys):
        with pytest.raises(TypeError, match=r"backbone: expected the configuration of a backbone"):
            toys.DetectorConfig(num_classes=3, backbone=("fpn",))

    def test_a_list_of_components_becomes_a_tuple(self, toys, detector):
        model = toys.DetectorConfig(num_classes=3)
        config = toys.RunConfig(model=model, augmentations=[toys.FlipConfig()])
        assert config.augmentations == (toys.FlipConfig(),)

    def test_one_component_in_place_of_several_is_refused(self, toys):
        model = toys.DetectorConfig(num_classes=3)
        with pytest.raises(TypeError, match="expected a tuple or dictionary of augmentation"):
            toys.RunConfig(model=model, augmentations=toys.FlipConfig())

    def test_none_is_refused_unless_optional(self, toys):
        with pytest.raises(TypeError, match="got None"):
            toys.RunConfig(model=None)

    def test_a_configuration_cannot_be_changed(self, toys):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            toys.ResNetConfig().depth = 18

    def test_an_optional_part_defaults_to_none(self):
        holder = attrs.make_class("Holder", {"loss": part("loss", optional=True)})
        assert holder().loss is None
