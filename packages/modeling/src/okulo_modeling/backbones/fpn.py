"""Feature Pyramid Network (https://arxiv.org/abs/1612.03144, Fig. 3)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Protocol

import torch.nn.functional as F
from attrs import field, frozen
from attrs.validators import ge
from torch import Tensor, nn

from okulo_core.config import part
from okulo_modeling.backbones.backbone import Backbone
from okulo_modeling.backbones.resnet import ResNetConfig
from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.norm import Norm, get_norm
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.layers.weight_init import c2_xavier_fill

__all__ = [
    "FPN",
    "FPNConfig",
    "LastLevelMaxPool",
    "LastLevelMaxPoolConfig",
    "LastLevelP6P7",
    "LastLevelP6P7Config",
    "TopBlock",
]


class TopBlock(Protocol):
    """What adds coarser levels on top of a pyramid: ``num_levels`` maps from ``in_feature``."""

    num_levels: int
    in_feature: str

    def __call__(self, x: Tensor) -> list[Tensor]: ...


class LastLevelMaxPool(nn.Module):
    """p6: every second cell of p5."""

    num_levels = 1
    in_feature = "p5"

    def forward(self, x: Tensor) -> list[Tensor]:
        return [F.max_pool2d(x, kernel_size=1, stride=2)]


class LastLevelP6P7(nn.Module):
    """p6 and p7 by 3x3 convolutions of stride 2 (RetinaNet, https://arxiv.org/abs/1708.02002)."""

    num_levels = 2

    def __init__(self, in_channels: int, out_channels: int, in_feature: str = "res5") -> None:
        super().__init__()
        self.in_feature = in_feature
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)
        c2_xavier_fill(self.p6)
        c2_xavier_fill(self.p7)

    def forward(self, x: Tensor) -> list[Tensor]:
        p6 = self.p6(x)
        return [p6, self.p7(F.relu(p6))]


class FPN(Backbone):
    """Levels ``p{k}`` of one width from a bottom-up network's features of stride 2**k.

    Args:
        bottom_up: Its features ``in_features`` are used.
        in_features: From fine to coarse; each stride twice the one before.
        out_channels: Channels of every level.
        norm: See :func:`get_norm`; convolutions have a bias only without norm.
        top_block: Adds coarser levels.
        fuse_type: How a level joins the upsampled coarser one: their sum or their mean.
        square_pad: If above 0, images are padded to squares of at least this side.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int,
        norm: str = "",
        top_block: TopBlock | None = None,
        fuse_type: Literal["sum", "avg"] = "sum",
        square_pad: int = 0,
    ) -> None:
        super().__init__()
        if fuse_type not in ("sum", "avg"):
            raise ValueError(f"fuse_type must be 'sum' or 'avg', got {fuse_type!r}")
        shapes = _checked_shapes(bottom_up, in_features)
        self.bottom_up = bottom_up
        self.in_features = tuple(in_features)
        self._fuse_type = fuse_type
        self._square_pad = square_pad
        self._levels = [round(math.log2(shape.stride or 0)) for shape in shapes]
        for level, shape in zip(self._levels, shapes, strict=True):
            assert shape.channels is not None
            self.add_module(f"fpn_lateral{level}", _conv(shape.channels, out_channels, 1, norm))
            self.add_module(f"fpn_output{level}", _conv(out_channels, out_channels, 3, norm))
        self.top_block = top_block
        last = self._levels[-1]
        levels = self._levels + [
            last + 1 + i for i in range(top_block.num_levels if top_block else 0)
        ]
        self._shapes = {f"p{k}": ShapeSpec(channels=out_channels, stride=2**k) for k in levels}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        bottom_up = self.bottom_up(x)
        finer_last: list[Tensor] = []
        coarser: Tensor | None = None
        for level, name in zip(self._levels[::-1], self.in_features[::-1], strict=True):
            fused = self.get_submodule(f"fpn_lateral{level}")(bottom_up[name])
            if coarser is not None:
                fused += F.interpolate(coarser, scale_factor=2.0, mode="nearest")
                if self._fuse_type == "avg":
                    fused /= 2
            coarser = fused
            finer_last.append(self.get_submodule(f"fpn_output{level}")(fused))
        features = dict(zip(self._shapes, finer_last[::-1], strict=False))
        if self.top_block is not None:
            source = bottom_up if self.top_block.in_feature in bottom_up else features
            coarse = self.top_block(source[self.top_block.in_feature])
            features.update(zip(list(self._shapes)[len(features) :], coarse, strict=True))
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        return dict(self._shapes)

    @property
    def size_divisibility(self) -> int:
        return 2 ** self._levels[-1]

    @property
    def padding_constraints(self) -> dict[str, int]:
        return {"square_size": self._square_pad}


def _checked_shapes(bottom_up: Backbone, in_features: Sequence[str]) -> list[ShapeSpec]:
    available = bottom_up.output_shape()
    if not in_features or (unknown := set(in_features) - set(available)):
        unknown = unknown if in_features else set()
        raise ValueError(
            f"in_features must name outputs of bottom_up, which has {list(available)}; "
            f"got {list(in_features)}; add {sorted(unknown)} to its out_features"
        )
    shapes = [available[name] for name in in_features]
    strides = [shape.stride or 0 for shape in shapes]
    if strides[0] <= 0 or any(2 * a != b for a, b in pairwise(strides)):
        raise ValueError(
            f"the strides of in_features must double from one to the next, got {strides}"
        )
    return shapes


def _conv(in_channels: int, out_channels: int, kernel: int, norm: str) -> Conv2d:
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel,
        padding=kernel // 2,
        bias=not norm,
        norm=get_norm(norm, out_channels),
    )
    c2_xavier_fill(conv)
    return conv


@frozen(kw_only=True)
class LastLevelMaxPoolConfig:
    """:class:`LastLevelMaxPool` has no settings."""

    def build(self, bottom_up: dict[str, ShapeSpec], out_channels: int) -> LastLevelMaxPool:
        """Build for any pyramid that has p5."""
        return LastLevelMaxPool()


@frozen(kw_only=True)
class LastLevelP6P7Config:
    """Settings of :class:`LastLevelP6P7`."""

    in_feature: str = "res5"

    def build(self, bottom_up: dict[str, ShapeSpec], out_channels: int) -> LastLevelP6P7:
        """Build for a pyramid of ``out_channels`` over the features ``bottom_up``."""
        shape = bottom_up.get(self.in_feature, ShapeSpec(channels=out_channels))
        return LastLevelP6P7(shape.channels or out_channels, out_channels, self.in_feature)


@frozen(kw_only=True)
class FPNConfig:
    """Settings of :class:`FPN`; the defaults are those of published Faster R-CNNs."""

    bottom_up: Any = part("backbone", factory=ResNetConfig)
    in_features: tuple[str, ...] = ("res2", "res3", "res4", "res5")
    out_channels: int = field(default=256, validator=ge(1))
    norm: Norm = ""
    fuse_type: Literal["sum", "avg"] = "sum"
    top_block: Any = part("top_block", factory=LastLevelMaxPoolConfig, optional=True)
    square_pad: int = field(default=0, validator=ge(0))

    def build(self, input_shape: ShapeSpec | None = None) -> FPN:
        """Build for images with ``input_shape.channels`` channels (default 3)."""
        bottom_up = self.bottom_up.build(input_shape)
        top_block = self.top_block and self.top_block.build(
            bottom_up.output_shape(), self.out_channels
        )
        return FPN(
            bottom_up,
            self.in_features,
            self.out_channels,
            self.norm,
            top_block=top_block,
            fuse_type=self.fuse_type,
            square_pad=self.square_pad,
        )
