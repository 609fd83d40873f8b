"""Components by kind and name, and an explanation for each way to miss one.

Rows D2-032, FV-091, MM-094, MM-095, MM-099 in spirit: names choose classes, clashes are errors.
"""

import sys
import types

import attrs
import pytest

from okulo_core.catalog import Catalog
from okulo_core.errors import ComponentError, DuplicateComponentError, UnknownComponentError
from okulo_core.hookspecs import Component
from okulo_core.known import PROVIDERS
from okulo_core.plugins import Plugins, PluginState


@attrs.frozen(kw_only=True)
class GoodConfig:
    size: int = 1

    def build(self): ...


@attrs.frozen
class OtherConfig:
    def build(self): ...


@attrs.define
class ThawedConfig:
    def build(self): ...


@attrs.define(slots=False)
class ThawedDictConfig:
    def build(self): ...


@attrs.frozen
class UnbuildableConfig:
    size: int = 1


@attrs.frozen
class TypedConfig:
    type: str = ""

    def build(self): ...


class PlainConfig:
    def build(self): ...


@pytest.fixture(autouse=True)
def acme(monkeypatch):
    module = types.ModuleType("acme")
    vars(module).update({k: v for k, v in globals().items() if k.endswith("Config")})
    module.function = lambda: None
    monkeypatch.setitem(sys.modules, "acme", module)
    return module


def entry(name="good", kind="loss", owner="acme", target="acme:GoodConfig"):
    return owner, Component(kind=kind, name=name, config=target)


def state(distribution, status, error="", traceback=""):
    return PluginState(
        distribution=distribution, version="1", module="m", status=status, error=error
    )


def message(catalog, kind, name, error=UnknownComponentError):
    with pytest.raises(error) as caught:
        catalog.config_class(kind, name)
    assert type(caught.value) is error
    return str(caught.value)


def test_finds_the_class_of_a_name():
    catalog = Catalog([entry()])
    assert catalog.config_class("loss", "good") is GoodConfig
    assert catalog.config_class("loss", "acme:good") is GoodConfig


def test_lists_kinds_and_components_in_order():
    catalog = Catalog([entry("b"), entry("a"), entry("z", kind="backbone")])
    assert catalog.kinds() == ["backbone", "loss"]
    assert [c.name for _, c in catalog.components()] == ["z", "a", "b"]
    assert [c.name for _, c in catalog.components("loss")] == ["a", "b"]
    assert catalog.components("none") == []


class TestNameOf:
    def test_an_instance_or_its_class(self):
        # The target names another module than the class's own, as for a re-exported class.
        catalog = Catalog([entry("other", target="acme:OtherConfig"), entry()])
        assert catalog.name_of("loss", GoodConfig) == "good"
        assert catalog.name_of("loss", GoodConfig(size=3)) == "good"

    def test_leaves_other_components_unimported(self, monkeypatch):
        target = f"{GoodConfig.__module__}:GoodConfig".replace("-", "_")
        monkeypatch.setattr(GoodConfig, "__module__", target.partition(":")[0])
        catalog = Catalog([entry("gone", target="gone:GoneConfig"), entry(target=target)])
        assert catalog.name_of("loss", GoodConfig) == "good"

    def test_of_a_name_that_two_provide_names_the_distribution(self):
        catalog = Catalog([entry(owner="a", target="acme:OtherConfig"), entry(owner="b")])
        assert catalog.name_of("loss", GoodConfig) == "b:good"

    def test_a_class_of_another_kind_is_refused(self):
        with pytest.raises(ComponentError, match=r":GoodConfig is not listed as a backbone; let a"):
            Catalog([entry()]).name_of("backbone", GoodConfig())


class TestTwice:
    def test_by_two_distributions_names_both_and_the_way_out(self):
        catalog = Catalog([entry(owner="one"), entry(owner="two", target="acme:OtherConfig")])
        assert message(catalog, "loss", "good", DuplicateComponentError) == (
            "loss 'good' is provided by both 'one' and 'two'; uninstall or block one of them, "
            "or write 'one:good'"
        )
        assert catalog.config_class("loss", "one:good") is GoodConfig
        assert catalog.config_class("loss", "two:good") is OtherConfig

    def test_by_one_distribution_is_refused(self):
        with pytest.raises(DuplicateComponentError, match="acme lists loss 'good' twice"):
            Catalog([entry(), entry()])

    def test_in_two_kinds_is_no_clash(self):
        catalog = Catalog([entry(), entry(kind="head", target="acme:OtherConfig")])
        assert catalog.config_class("head", "good") is OtherConfig


class TestUnknown:
    def test_misspelt_lists_the_nearest(self):
        catalog = Catalog([entry(), entry("goal"), entry("far_away")])
        assert message(catalog, "loss", "goodl") == (
            "no loss named 'goodl'; did you mean 'good' or 'goal'?"
        )

    def test_far_from_all_lists_all(self):
        catalog = Catalog([entry("a"), entry("b")])
        assert message(catalog, "loss", "zzz") == "no loss named 'zzz'; there are: a, b"

    def test_of_a_distribution_that_lacks_it(self):
        assert message(Catalog([entry()]), "loss", "acne:good") == (
            "no loss named 'acne:good'; did you mean 'acme:good'?"
        )

    def test_of_another_kind_says_so(self):
        catalog = Catalog([entry(), entry("x", kind="head"), entry("x", kind="augmentation")])
        assert message(catalog, "loss", "x", ComponentError) == (
            "no loss named 'x'; 'x' is an augmentation and a head"
        )

    def test_known_package_that_is_not_installed(self):
        assert message(Catalog([entry()]), "backbone", "resnet") == (
            "no backbone named 'resnet'; okulo-modeling provides it but is not loaded; "
            "pip install okulo-modeling"
        )

    def test_kind_of_a_known_package_that_is_not_installed(self):
        assert message(Catalog([entry()]), "backbone", "resnext") == (
            "no backbone named 'resnext': no loaded plugin provides any backbone; "
            "okulo-modeling would: pip install okulo-modeling"
        )

    def test_unknown_kind(self):
        assert message(Catalog([entry()]), "losss", "good2") == (
            "no losss named 'good2': no loaded plugin provides any losss; did you mean 'loss'?"
        )

    @pytest.mark.parametrize("status", ["blocked", "broken"])
    def test_known_package_that_is_left_out(self, status):
        states = [state("okulo-modeling", status, "the reason")]
        assert message(Catalog([entry()], states), "backbone", "resnet") == (
            f"no backbone named 'resnet'; okulo-modeling provides it but is {status} (the reason)"
        )

    def test_plugins_left_out_are_mentioned(self):
        states = [state("a", "blocked"), state("b", "broken"), state("acme", "loaded")]
        assert message(Catalog([entry()], states), "loss", "zzz") == (
            "no loss named 'zzz'; there are: good (a is blocked, b is broken)"
        )

    def test_without_any_plugin_says_what_to_install(self):
        assert message(Catalog([]), "loss", "own") == (
            "no loss named 'own': no plugin is installed; "
            "pip install okulo-modeling okulo-engine okulo-transforms"
        )

    def test_with_every_plugin_blocked_says_by_what(self):
        found = message(Catalog([], [state("a", "blocked"), state("b", "blocked")]), "loss", "own")
        assert found == (
            "no loss named 'own': every plugin is blocked (a, b); "
            "add them to OKULO_PLUGINS, unset it, or leave out --no-plugins"
        )

    def test_with_every_plugin_broken_points_to_the_doctor(self):
        found = message(Catalog([], [state("a", "broken")]), "loss", "own")
        assert found == "no loss named 'own': every plugin is broken (a); run 'okulo doctor'"


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("acme_gone:Config", "cannot import acme_gone:Config: ModuleNotFoundError: No module"),
        ("acme:GoneConfig", "cannot import acme:GoneConfig: AttributeError: module 'acme' has no"),
        ("acme:PlainConfig", "acme:PlainConfig is no attrs class"),
        ("acme:function", "acme:function is no attrs class but <function"),
        ("acme:ThawedConfig", "acme:ThawedConfig is not frozen; decorate it with @attrs.frozen"),
        ("acme:ThawedDictConfig", "acme:ThawedDictConfig is not frozen"),
        ("acme:UnbuildableConfig", "acme:UnbuildableConfig has no method build(...)"),
        ("acme:TypedConfig", "acme:TypedConfig has a field 'type', a key that files use to"),
    ],
)
def test_a_target_that_is_no_config_is_refused(target, fault):
    found = message(Catalog([entry(target=target)]), "loss", "good", ComponentError)
    assert found.startswith(f"loss 'good' of acme: {fault}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "Loss"}, {"kind": ""}, {"name": "Focal"}, {"name": "a:b"}, {"config": "no_colon"},
        {"config": "a:b.c"},
    ],
)  # fmt: skip
def test_a_malformed_component_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Component(**{"kind": "loss", "name": "a", "config": "a:B", **wrong})


def test_the_index_of_known_packages_is_true():
    """What the index says of an installed package is what that package lists, and all of it."""
    plugins = Plugins.installed()
    loaded = {state.distribution for state in plugins.states if state.status == "loaded"}
    listed = {(c.kind, c.name): owner for owner, c in plugins.catalog().components()}
    said = {key: owner for key, owner in PROVIDERS.items() if owner in loaded}
    assert said == {key: owner for key, owner in listed.items() if owner in PROVIDERS.values()}
