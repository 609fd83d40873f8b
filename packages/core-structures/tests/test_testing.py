"""The test helpers: each part of the contract check fails for a component that breaks it."""

import copy
import sys
import types
from typing import Any

import pytest
import torch
from attrs import field, frozen
from torch import nn

from okulo_core.catalog import Catalog
from okulo_core.errors import ComponentError, PluginError
from okulo_core.hookspecs import Component, hookimpl
from okulo_core.plugins import Plugins
from okulo_core.testing import check_component, shared_path


class Affine(nn.Module):
    def __init__(self, *, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.norm = nn.BatchNorm1d(size)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return {"y": [self.drop(self.norm(x * self.weight))]}


@frozen(kw_only=True)
class AffineConfig:
    size: int = 3

    def build(self):
        return Affine(size=self.size)


@frozen(kw_only=True)
class DemandingConfig(AffineConfig):
    other: int


@frozen(kw_only=True)
class ForgetfulConfig(AffineConfig):
    """Does not return equal from plain data."""

    when: float = field(default=1.0, eq=False)
    then: Any = field(factory=lambda: (1,))  # becomes a list on the way


@frozen(kw_only=True)
class UnpicklableConfig(AffineConfig):
    then: Any = None

    def __reduce__(self):
        raise TypeError("stays here")


@frozen(kw_only=True)
class MutedConfig(AffineConfig):
    def build(self):
        module = Affine(size=self.size)
        module.unused = nn.Parameter(torch.zeros(1))
        return module


class Infinite(Affine):
    def forward(self, x):
        return torch.sqrt(self.weight * 0).sum() + super().forward(x)["y"][0].sum()


@frozen(kw_only=True)
class InfiniteConfig(AffineConfig):
    def build(self):
        return Infinite(size=self.size)


class Constant(Affine):
    def forward(self, x):
        return x.detach()


@frozen(kw_only=True)
class ConstantConfig(AffineConfig):
    def build(self):
        return Constant(size=self.size)


class Secretive(Affine):
    """Keeps a random tensor that is no buffer."""

    def __init__(self, *, size):
        super().__init__(size=size)
        self.secret = torch.randn(size)

    def forward(self, x):
        return super().forward(x)["y"][0] + self.secret


@frozen(kw_only=True)
class SecretiveConfig(AffineConfig):
    def build(self):
        return Secretive(size=self.size)


@frozen(kw_only=True)
class LambdaConfig(AffineConfig):
    def build(self):
        module = Affine(size=self.size)
        module.function = lambda: None
        return module


class Loss(nn.Module):
    def forward(self, x):
        return (x**2).mean()


@frozen(kw_only=True)
class LossConfig:
    def build(self):
        return Loss()


class DeafLoss(nn.Module):
    def forward(self, x):
        return (x.detach() ** 2).mean()


@frozen(kw_only=True)
class DeafLossConfig:
    def build(self):
        return DeafLoss()


@frozen(kw_only=True)
class MeanConfig:
    """Builds no module, and needs an argument."""

    def build(self, scale):
        return lambda values: scale * sum(values)


def listed(*classes):
    components = [
        Component(kind="part", name=cls.__name__.lower(), config=f"acme:{cls.__name__}")
        for cls in classes
    ]
    return types.SimpleNamespace(okulo_components=hookimpl(lambda: components))


@pytest.fixture
def catalog(okulo_catalog, monkeypatch):
    module = types.ModuleType("acme")
    classes = [cls for name, cls in globals().items() if name.endswith("Config")]
    vars(module).update({cls.__name__: cls for cls in classes})
    monkeypatch.setitem(sys.modules, "acme", module)
    okulo_catalog.register("acme", listed(*classes))
    return okulo_catalog


@pytest.fixture
def check(catalog):
    batch = (torch.randn(4, 3),)

    def check(config, inputs=batch, **kwargs):
        return check_component(config, kind="part", catalog=catalog, inputs=inputs, **kwargs)

    return check


class TestTheContractCheck:
    def test_accepts_a_sound_component(self, check):
        assert isinstance(check(AffineConfig), Affine)
        assert check(AffineConfig(size=5), (torch.randn(4, 5),)).weight.shape == (5,)

    def test_accepts_what_is_no_module(self, check):
        assert check(MeanConfig, None, build_args=(2,))([1, 2]) == 6

    def test_accepts_a_module_without_parameters(self, check):
        inputs = (torch.randn(3, requires_grad=True),)
        before = copy.deepcopy(inputs)
        check(LossConfig, inputs)
        assert inputs[0].grad is None
        assert inputs[0].equal(before[0])

    @pytest.mark.parametrize(
        ("cls", "message"),
        [
            (DemandingConfig, "DemandingConfig does not build from defaults: .*'other'"),
            (ForgetfulConfig, "ForgetfulConfig does not return equal from plain data"),
            (UnpicklableConfig, "UnpicklableConfig cannot be pickled: stays here"),
            (MutedConfig, "no gradient reaches unused of Affine"),
            (InfiniteConfig, "the gradient of weight of Infinite is not finite"),
            (ConstantConfig, "no gradient reaches weight of Constant"),
            (SecretiveConfig, "Secretive gives other outputs after a round trip through its state"),
            (LambdaConfig, "Affine cannot be pickled"),
        ],
    )
    def test_refuses_a_broken_component(self, check, cls, message):
        with pytest.raises(AssertionError, match=message):
            check(cls)

    def test_refuses_a_loss_that_no_gradient_passes(self, check):
        with pytest.raises(AssertionError, match="no gradient reaches input 0 of DeafLoss"):
            check(DeafLossConfig, (torch.randn(3, requires_grad=True),))

    def test_asks_for_the_inputs_of_a_module(self, check):
        with pytest.raises(AssertionError, match=r"Affine is a module; pass inputs=\(\.\.\.\)"):
            check(AffineConfig, None)

    def test_refuses_what_is_not_listed(self, okulo_catalog):
        with pytest.raises(ComponentError, match="AffineConfig is not listed as a part"):
            check_component(AffineConfig, kind="part", catalog=okulo_catalog)

    def test_leaves_the_random_state_alone(self, check):
        torch.manual_seed(3)
        expected = torch.randn(2)
        torch.manual_seed(3)
        check(AffineConfig)
        assert torch.randn(2).equal(expected)


class TestTheCatalogueFixture:
    def test_starts_empty_and_takes_several_plugins(self, okulo_catalog):
        assert okulo_catalog.components() == []
        okulo_catalog.register("acme", listed(AffineConfig))
        okulo_catalog.register("other", listed(LossConfig))
        assert [owner for owner, _ in okulo_catalog.components()] == ["acme", "other"]

    def test_refuses_a_broken_plugin(self, okulo_catalog):
        with pytest.raises(PluginError, match="plugin acme is broken: no hook implementation"):
            okulo_catalog.register("acme", types.SimpleNamespace())

    @pytest.mark.parametrize("discover", [Plugins.installed, Catalog.installed])
    def test_keeps_installed_plugins_out(self, request, discover):
        request.getfixturevalue("okulo_catalog")
        with pytest.raises(RuntimeError, match="keeps installed plugins out; register what it"):
            getattr(discover.__self__, discover.__name__)()


class TestSharedData:
    def test_is_found_by_the_environment(self, tmp_path, monkeypatch):
        (tmp_path / "golden").mkdir()
        monkeypatch.setenv("OKULO_SHARED", str(tmp_path))
        assert shared_path("golden") == tmp_path / "golden"
        assert shared_path() == tmp_path

    def test_skips_where_it_is_absent(self, tmp_path, monkeypatch):
        monkeypatch.setenv("OKULO_SHARED", str(tmp_path))
        with pytest.raises(pytest.skip.Exception, match=r"shared data not found: .*no\.npz; set"):
            shared_path("no.npz")

    def test_is_beside_the_checkout_otherwise(self, monkeypatch):
        monkeypatch.delenv("OKULO_SHARED", raising=False)
        assert shared_path().name == "shared"  # or skips, as it should
