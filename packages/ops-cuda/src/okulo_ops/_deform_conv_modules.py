"""Layers around deformable convolutions, with the parameters and names of mmcv and detectron2."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from okulo_ops._deform_conv import (
    IntPair,
    deform_conv2d,
    modulated_deform_conv2d,
    output_size,
)

__all__ = [
    "DeformConv2d",
    "DeformConv2dPack",
    "ModulatedDeformConv2d",
    "ModulatedDeformConv2dPack",
    "DeformConv",
    "ModulatedDeformConv",
    "upgrade_deform_conv_weights",
]

Layer = Callable[[Tensor], Tensor]


class _Convolution(nn.Module):
    """The weight and the geometry that all of them have."""

    bias: Tensor | None
    takes_bias: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair,
        padding: IntPair,
        dilation: IntPair,
        groups: int,
        bias: bool,
    ) -> None:
        super().__init__()
        if bias and not self.takes_bias:
            name = type(self).__name__
            raise ValueError(f"{name} has no bias, got bias=True; use Modulated{name}")
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels and out_channels, got in_channels={in_channels}, "
                f"out_channels={out_channels}, groups={groups}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size: tuple[int, int] = _pair(kernel_size)
        self.stride: tuple[int, int] = _pair(stride)
        self.padding: tuple[int, int] = _pair(padding)
        self.dilation: tuple[int, int] = _pair(dilation)
        self.groups = groups
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, *self.kernel_size)
        )
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_channels)) if bias else None)

    @property
    def _geometry(self) -> tuple[IntPair, IntPair, IntPair, int]:
        return self.stride, self.padding, self.dilation, self.groups

    def _output_size(self, x: Tensor) -> tuple[int, int]:
        size = x.shape[2], x.shape[3]
        return output_size(size, self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={self.bias is not None}"
        )


class _OfMmcv(_Convolution):
    """Weights start uniform within 1 / sqrt(C_in * kh * kw), a bias at zero."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        *,
        deformable_groups: int | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        if deformable_groups is not None:
            warnings.warn(
                "deformable_groups is the old name of deform_groups",
                DeprecationWarning,
                stacklevel=3,
            )
            deform_groups = deformable_groups
        if in_channels % deform_groups:
            raise ValueError(
                f"deform_groups must divide in_channels, got {deform_groups} and {in_channels}"
            )
        self.deform_groups = deform_groups
        bound = 1 / math.sqrt(in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)

    def _offset_layer(self, channels_per_tap: int) -> nn.Conv2d:
        """The convolution that predicts offsets; zero at first, so that no tap is displaced."""
        taps = math.prod(self.kernel_size)
        layer = nn.Conv2d(
            self.in_channels,
            channels_per_tap * taps * self.deform_groups,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
        )
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return layer


class DeformConv2d(_OfMmcv):
    """:func:`okulo_ops.deform_conv2d` with its weight; ``bias`` must be False.

    An input smaller than the kernel gives the pixels that a padded input would leave after cutting
    the padding off again, which may be none. ``deformable_groups`` is a deprecated name.
    """

    takes_bias = False

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Convolve x (N, C_in, H, W) with offset (N, deform_groups * kh * kw * 2, H_out, W_out)."""
        # Zeros lie around the input anyway, so padding it changes nothing but an empty output.
        height, width = self._output_size(x)
        too_small = x.shape[2] < self.kernel_size[0] or x.shape[3] < self.kernel_size[1]
        if too_small and min(height, width) <= 0:
            return x.new_zeros(len(x), self.out_channels, max(height, 0), max(width, 0))
        return deform_conv2d(x, offset, self.weight, *self._geometry, self.deform_groups)


class ModulatedDeformConv2d(_OfMmcv):
    """:func:`okulo_ops.modulated_deform_conv2d` with its weight and bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = True,
        *,
        deformable_groups: int | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
            bias,
            deformable_groups=deformable_groups,
        )

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve x (N, C_in, H, W); mask is (N, deform_groups * kh * kw, H_out, W_out)."""
        return modulated_deform_conv2d(
            x, offset, mask, self.weight, self.bias, *self._geometry, self.deform_groups
        )


class _RenamedOffsets(nn.Module):
    """State before version 2 named the offset layer of ``<name>`` ``<name>_offset``."""

    _version = 2

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        # Loaders that hand down the whole state come through with this. PyTorch's own hands down
        # only what begins with the prefix: see upgrade_deform_conv_weights.
        if (local_metadata.get("version") or 1) < 2:
            _rename_offsets(state_dict, prefix[:-1])
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def upgrade_deform_conv_weights(model: nn.Module, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of ``model`` with the offset layers of its packs by their present names.

    Before version 2 of their state the offset layer of a pack ``<name>`` was ``<name>_offset``;
    ``load_state_dict`` refuses such a name before a pack could see it. Present names are kept.
    """
    upgraded = dict(weights)
    for name, module in model.named_modules():
        if isinstance(module, _RenamedOffsets):
            _rename_offsets(upgraded, name)
    return upgraded


def _rename_offsets(weights: dict[str, Any], name: str) -> None:
    for leaf in ("weight", "bias"):
        old, new = f"{name}_offset.{leaf}", f"{name}.conv_offset.{leaf}"
        if old in weights and new not in weights:
            weights[new] = weights.pop(old)


class DeformConv2dPack(_RenamedOffsets, DeformConv2d):
    """Predicts its own offsets from its input; a plain convolution before it is trained."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = self._offset_layer(2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        offset = self.conv_offset(x)
        return deform_conv2d(x, offset, self.weight, *self._geometry, self.deform_groups)


class ModulatedDeformConv2dPack(_RenamedOffsets, ModulatedDeformConv2d):
    """Predicts its own offsets and mask; half of a plain convolution before it is trained."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = self._offset_layer(3)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        predicted = self.conv_offset(x)
        offset, mask = predicted.tensor_split([predicted.shape[1] // 3 * 2], dim=1)
        return super().forward(x, offset, mask.sigmoid())


class _OfDetectron2(_Convolution):
    """Weights start Kaiming-uniform for ReLU, a bias at zero; then ``norm``, then ``activation``.

    Both are skipped for an empty batch, whose output still hangs on the graph.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
        norm: nn.Module | None = None,
        activation: Layer | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        if in_channels % deformable_groups:
            raise ValueError(
                f"deformable_groups must divide in_channels, got {deformable_groups} and "
                f"{in_channels}"
            )
        self.deformable_groups = deformable_groups
        self.norm = norm
        self.activation = activation
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def _finish(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)


class DeformConv(_OfDetectron2):
    """:func:`okulo_ops.deform_conv` with its weight, a norm and an activation; it has no bias."""

    takes_bias = False

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Convolve x (N, C_in, H, W) with offset (N, 2 * taps * groups, H_out, W_out)."""
        convolved = deform_conv2d(x, offset, self.weight, *self._geometry, self.deformable_groups)
        return self._finish(convolved)


class ModulatedDeformConv(_OfDetectron2):
    """:func:`okulo_ops.modulated_deform_conv` with its parameters, a norm and an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
        norm: nn.Module | None = None,
        activation: Layer | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deformable_groups,
            bias,
            norm,
            activation,
        )

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve x (N, C_in, H, W); mask (N, taps * groups, H_out, W_out) is taken as it is."""
        convolved = modulated_deform_conv2d(
            x, offset, mask, self.weight, self.bias, *self._geometry, self.deformable_groups
        )
        return self._finish(convolved)
