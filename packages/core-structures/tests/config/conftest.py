"""A small world of toy components for the tests of configuration."""

import sys
import types
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from attrs import field, frozen
from attrs.validators import ge, le

from okulo_core.catalog import Catalog
from okulo_core.config import part, parts
from okulo_core.hookspecs import Component


class Level(Enum):
    LOW = 1
    HIGH = 2


@frozen(kw_only=True)
class ResNetConfig:
    """A residual network."""

    depth: int = field(default=50, validator=ge(1))
    norm: Literal["BN", "FrozenBN", ""] = "BN"

    def build(self):
        return ("resnet", self.depth, self.norm)


@frozen(kw_only=True)
class FPNConfig:
    bottom_up: Any = part("backbone", ResNetConfig(depth=101))
    out_channels: int = 256

    def build(self):
        return ("fpn", self.bottom_up.build())


@frozen(kw_only=True)
class FocalConfig:
    alpha: float = field(default=0.25, validator=[ge(0.0), le(1.0)])
    gamma: float = field(default=2.0, validator=ge(0.0))

    def build(self): ...


@frozen(kw_only=True)
class FlipConfig:
    probability: float = 0.5

    def build(self): ...


@frozen(kw_only=True)
class ResizeConfig:
    short: int
    long: int = 1333

    def __attrs_post_init__(self):
        if self.long < self.short:
            raise ValueError(f"long ({self.long}) must be at least short ({self.short})")

    def build(self): ...


@frozen(kw_only=True)
class DetectorConfig:
    VERSION: ClassVar[int] = 3

    num_classes: int
    backbone: Any = part("backbone", factory=FPNConfig)
    losses: dict[str, Any] = parts("loss", factory=dict)

    @staticmethod
    def upgrade(data, version):
        if version < 2 and "classes" in data:
            data = {**data, "num_classes": data["classes"]}
            del data["classes"]
        if version < 3 and "net" in data:
            data = {**data, "backbone": data["net"]}
            del data["net"]
        return data

    def build(self): ...


@frozen(kw_only=True)
class CheckpointConfig:
    period: int = 200
    keep: int | None = 2


@frozen(kw_only=True)
class RunConfig:
    """A toy run."""

    model: Any = part("model")
    augmentations: tuple[Any, ...] = parts("augmentation", (ResizeConfig(short=800), FlipConfig()))
    visualizer: Any = part("loss", optional=True)
    steps: int = 800
    lr: float = 0.02
    deterministic: bool = False
    name: str = "run"
    amp: Literal["none", "bf16", "fp16"] = "none"
    sizes: tuple[int, ...] = (640, 800)
    crop: tuple[int, int] | None = None
    scale: int | float | tuple[int, int] = 1
    weights: Path | None = None
    extras: dict[str, float] = field(factory=dict)
    checkpoint: CheckpointConfig = field(factory=CheckpointConfig)
    level: Level = Level.LOW
    anything: Any = None


def component(kind, name, cls):
    return ("okulo-toys", Component(kind=kind, name=name, config=f"okulo_toys:{cls.__name__}"))


@pytest.fixture
def toys(monkeypatch):
    """The classes above as one importable module, which the catalogue's targets name."""
    module = types.ModuleType("okulo_toys")
    for cls in list(globals().values()):
        if isinstance(cls, type) and cls.__module__ == __name__:
            setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "okulo_toys", module)
    return module


@pytest.fixture
def catalog(toys):
    return Catalog(
        [
            component("model", "detector", DetectorConfig),
            component("backbone", "fpn", FPNConfig),
            component("backbone", "resnet", ResNetConfig),
            component("loss", "focal", FocalConfig),
            component("augmentation", "flip", FlipConfig),
            component("augmentation", "resize", ResizeConfig),
        ]
    )


@pytest.fixture
def detector():
    """The least that a run has to state."""
    return {"type": "detector", "version": 3, "num_classes": 3}
