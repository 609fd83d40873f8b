"""ResNet (https://arxiv.org/abs/1512.03385) and ResNeXt (https://arxiv.org/abs/1611.05431)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from attrs import field, frozen
from attrs.validators import and_, ge, in_, le, optional
from torch import Tensor, nn

from okulo_modeling.backbones.backbone import Backbone
from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.norm import FrozenBatchNorm2d, Norm, get_norm
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.layers.weight_init import c2_msra_fill

__all__ = [
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "CNNBlockBase",
    "ResNet",
    "ResNetConfig",
    "make_default_stages",
    "make_stage",
]


class CNNBlockBase(nn.Module):
    """A block with known channels and stride; (N, C, H, W) in and out."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def freeze(self) -> "CNNBlockBase":
        """Stop training this block: no gradients, batch norms with constant statistics."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)
        return self


def _conv(in_channels: int, out_channels: int, kernel: int, norm: str, **kwargs: Any) -> Conv2d:
    """A convolution without bias that keeps the size at stride 1, its norm, MSRA weights."""
    padding = kernel // 2 * kwargs.get("dilation", 1)
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel,
        padding=padding,
        bias=False,
        norm=get_norm(norm, out_channels),
        **kwargs,
    )
    c2_msra_fill(conv)
    return conv


class BasicStem(CNNBlockBase):
    """7x7 convolution and 3x3 max pooling, each of stride 2."""

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: str = "BN") -> None:
        super().__init__(in_channels, out_channels, 4)
        self.conv1 = _conv(in_channels, out_channels, 7, norm, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.conv1(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class BasicBlock(CNNBlockBase):
    """Two 3x3 convolutions beside a shortcut (Fig. 5 left of the ResNet paper)."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, norm: str = "BN"
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, out_channels, 3, norm, stride=stride)
        self.conv2 = _conv(out_channels, out_channels, 3, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu_(self.conv1(x))
        out = self.conv2(out)
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


class BottleneckBlock(CNNBlockBase):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (Fig. 5 right of the ResNet paper).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        bottleneck_channels: Channels of the 3x3 convolution.
        stride: Stride of the block.
        num_groups: Groups of the 3x3 convolution; above 1 for ResNeXt.
        norm: See :func:`get_norm`.
        stride_in_1x1: The stride is taken by the first 1x1 convolution, as in the weights of the
            original authors; otherwise by the 3x3, as in torchvision's and ResNeXt's.
        dilation: Of the 3x3 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: str = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, bottleneck_channels, 1, norm, stride=stride_1x1)
        self.conv2 = _conv(
            bottleneck_channels,
            bottleneck_channels,
            3,
            norm,
            stride=stride_3x3,
            groups=num_groups,
            dilation=dilation,
        )
        self.conv3 = _conv(bottleneck_channels, out_channels, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu_(self.conv1(x))
        out = F.relu_(self.conv2(out))
        out = self.conv3(out)
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: str) -> Conv2d | None:
    if in_channels == out_channels:
        return None
    return _conv(in_channels, out_channels, 1, norm, stride=stride)


def make_stage(
    block_class: type[CNNBlockBase],
    num_blocks: int,
    *,
    in_channels: int,
    out_channels: int,
    **kwargs: Any,
) -> list[CNNBlockBase]:
    """Build blocks that follow each other; only the first sees ``in_channels``.

    Args:
        block_class: Class of every block.
        num_blocks: How many.
        in_channels: Channels of the stage's input.
        out_channels: Channels of every block's output.
        kwargs: Arguments of every block; ``<name>_per_block`` gives ``num_blocks`` values instead.
    """
    suffix = "_per_block"
    varying = {k.removesuffix(suffix): v for k, v in kwargs.items() if k.endswith(suffix)}
    shared = {k: v for k, v in kwargs.items() if not k.endswith(suffix)}
    for name, values in varying.items():
        if name in shared:
            raise ValueError(f"give either {name} or {name}{suffix}, not both")
        if len(values) != num_blocks:
            raise ValueError(
                f"{name}{suffix} must have one value for each of {num_blocks} blocks, got {values}"
            )
    blocks = []
    for i in range(num_blocks):
        own = {name: values[i] for name, values in varying.items()}
        blocks.append(block_class(in_channels, out_channels, **shared, **own))
        in_channels = out_channels
    return blocks


_BLOCKS_PER_STAGE = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def make_default_stages(
    depth: int,
    block_class: type[CNNBlockBase] | None = None,
    *,
    num_groups: int = 1,
    width_per_group: int = 64,
    res5_dilation: int = 1,
    stem_out_channels: int = 64,
    res2_out_channels: int | None = None,
    **kwargs: Any,
) -> list[list[CNNBlockBase]]:
    """Stages res2 to res5 of the depths in Table 1 of the ResNet paper.

    Args:
        depth: 18, 34, 50, 101 or 152.
        block_class: Default: :class:`BasicBlock` below depth 50, else :class:`BottleneckBlock`.
        num_groups: Groups of the bottlenecks' 3x3 convolutions.
        width_per_group: Channels per group in res2; doubled in each stage.
        res5_dilation: 2 keeps res5 at stride 16 (the "DC5" models).
        stem_out_channels: Channels that res2 receives.
        res2_out_channels: Channels of res2, doubled in each stage; default: the paper's, 64 below
            depth 50, else 256.
        kwargs: Arguments of every block.
    """
    if depth not in _BLOCKS_PER_STAGE:
        raise ValueError(f"depth must be one of {list(_BLOCKS_PER_STAGE)}, got {depth}")
    if block_class is None:
        block_class = BasicBlock if depth < 50 else BottleneckBlock
    bottleneck = block_class is not BasicBlock
    if not bottleneck and (num_groups, width_per_group, res5_dilation) != (1, 64, 1):
        raise ValueError(f"ResNet-{depth} has no groups, other widths or dilation; use depth >= 50")
    in_channels = stem_out_channels
    out_channels = res2_out_channels or (256 if bottleneck else 64)
    stages = []
    for i, num_blocks in enumerate(_BLOCKS_PER_STAGE[depth]):
        dilation = res5_dilation if i == 3 else 1
        stride = 1 if i == 0 or dilation == 2 else 2
        if bottleneck:
            kwargs |= {
                "bottleneck_channels": num_groups * width_per_group * 2**i,
                "num_groups": num_groups,
                "dilation": dilation,
            }
        stages.append(
            make_stage(
                block_class,
                num_blocks,
                in_channels=in_channels,
                out_channels=out_channels,
                stride_per_block=[stride] + [1] * (num_blocks - 1),
                **kwargs,
            )
        )
        in_channels, out_channels = out_channels, 2 * out_channels
    return stages


class ResNet(Backbone):
    """A stem, then stages ``res2``, ``res3``, ...; optionally a classifier ``linear``.

    Args:
        stem: Its ``stride`` and ``out_channels`` describe the feature ``"stem"``.
        stages: Non-empty lists of blocks; stage i is the child ``res{i + 2}``.
        num_classes: If given, the last stage is pooled and classified (feature ``"linear"``).
        out_features: Which of ``"stem"``, ``"res2"``, ..., ``"linear"`` to return; default: the
            last. Stages deeper than these are left out.
        freeze_at: See :meth:`freeze`.
    """

    def __init__(
        self,
        stem: CNNBlockBase,
        stages: Sequence[Sequence[CNNBlockBase]],
        num_classes: int | None = None,
        out_features: Sequence[str] | None = None,
        freeze_at: int = 0,
    ) -> None:
        super().__init__()
        names = [f"res{i + 2}" for i in range(len(stages))]
        known = ["stem", *names] + (["linear"] if num_classes is not None else [])
        self._out_features = tuple(out_features or known[-1:])
        if unknown := set(self._out_features) - set(known):
            raise ValueError(f"out_features must be among {known}, got {sorted(unknown)}")
        depth = max(known.index(name) for name in self._out_features)

        self.stem = stem
        self._shapes = {"stem": ShapeSpec(channels=stem.out_channels, stride=stem.stride)}
        self._stage_names = names[:depth]
        channels, stride = stem.out_channels, stem.stride
        for name, blocks in zip(self._stage_names, stages, strict=False):
            if not blocks:
                raise ValueError(f"every stage needs at least one block; {name} has none")
            self.add_module(name, nn.Sequential(*blocks))
            for block in blocks:
                stride *= block.stride
            channels = blocks[-1].out_channels
            self._shapes[name] = ShapeSpec(channels=channels, stride=stride)
        if "linear" in self._out_features:
            assert num_classes is not None
            self.linear = nn.Linear(channels, num_classes)
            # "Accurate, Large Minibatch SGD" (https://arxiv.org/abs/1706.02677), section 5.1
            nn.init.normal_(self.linear.weight, std=0.01)
            self._shapes["linear"] = ShapeSpec(channels=num_classes)
        self.freeze(freeze_at)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if x.dim() != 4:
            raise ValueError(f"ResNet takes images (N, C, H, W), got shape {tuple(x.shape)}")
        features = {"stem": self.stem(x)}
        x = features["stem"]
        for name in self._stage_names:
            x = features[name] = self.get_submodule(name)(x)
        if "linear" in self._out_features:
            features["linear"] = self.linear(x.mean(dim=(2, 3)))
        return {name: features[name] for name in self._out_features}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {name: self._shapes[name] for name in self._out_features}

    def freeze(self, freeze_at: int = 0) -> "ResNet":
        """Stop training the first parts: 0 none, 1 the stem, 2 also res2, ... 5 everything."""
        for name in ["stem", *self._stage_names][:freeze_at]:
            for module in self.get_submodule(name).modules():
                if isinstance(module, CNNBlockBase):
                    module.freeze()
        return self

    make_stage = staticmethod(make_stage)
    make_default_stages = staticmethod(make_default_stages)


@frozen(kw_only=True)
class ResNetConfig:
    """Settings of :class:`ResNet`; the defaults fit the weights of the original authors.

    Their weights want BGR images, unit ``pixel_std``, ``stride_in_1x1`` and frozen norms.
    """

    depth: int = field(default=50, validator=in_(tuple(_BLOCKS_PER_STAGE)))
    norm: Norm = "FrozenBN"
    freeze_at: int = field(default=2, validator=and_(ge(0), le(5)))  # 0: nothing; 5: everything
    out_features: tuple[str, ...] = ("res2", "res3", "res4", "res5")
    stride_in_1x1: bool = True  # bottlenecks only (depth >= 50)
    num_groups: int = field(default=1, validator=ge(1))  # 32 for ResNeXt
    width_per_group: int = field(default=64, validator=ge(1))
    res5_dilation: Literal[1, 2] = 1
    stem_out_channels: int = field(default=64, validator=ge(1))
    res2_out_channels: int | None = field(default=None, validator=optional(ge(1)))  # 64 or 256

    def build(self, input_shape: ShapeSpec | None = None) -> ResNet:
        """Build for images with ``input_shape.channels`` channels (default 3)."""
        in_channels = (input_shape.channels if input_shape else None) or 3
        bottleneck: dict[str, Any] = (
            {"stride_in_1x1": self.stride_in_1x1} if self.depth >= 50 else {}
        )
        stages = make_default_stages(
            self.depth,
            num_groups=self.num_groups,
            width_per_group=self.width_per_group,
            res5_dilation=self.res5_dilation,
            stem_out_channels=self.stem_out_channels,
            res2_out_channels=self.res2_out_channels,
            norm=self.norm,
            **bottleneck,
        )
        return ResNet(
            BasicStem(in_channels, self.stem_out_channels, self.norm),
            stages,
            out_features=self.out_features,
            freeze_at=self.freeze_at,
        )
