"""Convolutions of sparse tensors."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from okulo_ops._checks import in_float32
from okulo_ops.sparse._modules import SparseModule
from okulo_ops.sparse._pairs import Geometry, Pairs, find_pairs
from okulo_ops.sparse._tensor import SparseConvTensor

__all__ = [
    "SparseConv2d",
    "SparseConv3d",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SubMConv2d",
    "SubMConv3d",
]

Size = int | Sequence[int]


def convolve(features: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """Sum of features times weights over pairs; added up in float32 for half types.

    Args:
        features: (N, in).
        weight: (*kernel_size, in, out).
    """
    total = in_float32(features.new_zeros(len(pairs.output_indices), weight.shape[-1]))
    dtype = features.dtype
    for (source, target), element in zip(pairs.rows, weight.flatten(0, -3), strict=True):
        product = features[source] @ element
        dtype = product.dtype  # lower than that of the features under autocast
        total.index_add_(0, target, product.to(total.dtype))
    return total.to(dtype)


class _Convolution(SparseModule):
    """What all convolutions have; weight is (*kernel_size, in_channels, out_channels)."""

    ndim: ClassVar[int]
    submanifold: ClassVar[bool] = False
    transposed: ClassVar[bool] = False
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
    ) -> None:
        super().__init__()
        if groups != 1:
            raise ValueError(f"sparse convolutions have one group, got groups={groups}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.indice_key = indice_key
        kernel, stride, padding, dilation = (
            per_axis(size, self.ndim) for size in (kernel_size, stride, padding, dilation)
        )
        if self.submanifold:  # the middle of the kernel stays on its place
            stride = (1,) * self.ndim
            padding = tuple(k // 2 * d for k, d in zip(kernel, dilation, strict=True))
        self.geometry = Geometry(kernel, stride, padding, dilation, (0,) * self.ndim)
        self.weight = nn.Parameter(torch.empty(*kernel, in_channels, out_channels))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform, as torch.nn's convolutions."""
        bound = 1 / math.sqrt(max(1, self.in_channels * math.prod(self.geometry.kernel_size)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        pairs = self.find_pairs(input)
        features = convolve(input.features, self.weight, pairs)
        if self.bias is not None:
            features = features + self.bias.to(features.dtype)
        return SparseConvTensor(
            features, pairs.output_indices, pairs.output_shape, input.batch_size, input.indice_dict
        )

    def find_pairs(self, input: SparseConvTensor) -> Pairs:
        """The pairs; those of an earlier layer with the same key are taken over."""
        pairs = input.find_indice_pair(self.indice_key)
        if pairs is not None:
            if pairs.input_indices is not input.indices:
                raise ValueError(
                    f"indice_key {self.indice_key!r} belongs to a layer with other input places; "
                    "give layers the same key only where their places are the same"
                )
            if len(pairs.rows) != math.prod(self.geometry.kernel_size):
                raise ValueError(
                    f"indice_key {self.indice_key!r} belongs to a layer with another kernel; "
                    "give this one a key of its own"
                )
            return pairs
        pairs = find_pairs(
            input.indices, input.spatial_shape, self.geometry, self.submanifold, self.transposed
        )
        if self.indice_key is not None:
            input.indice_dict[self.indice_key] = pairs
        return pairs

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.geometry}, key={self.indice_key}"


class SparseConv2d(_Convolution):
    """Convolution whose output is occupied wherever its window meets an occupied place."""

    ndim = 2


class SparseConv3d(_Convolution):
    """Convolution whose output is occupied wherever its window meets an occupied place."""

    ndim = 3


class SparseConvTranspose2d(_Convolution):
    """Transposed convolution: every occupied place spreads over a window."""

    ndim = 2
    transposed = True


class SparseConvTranspose3d(_Convolution):
    """Transposed convolution: every occupied place spreads over a window."""

    ndim = 3
    transposed = True


class SubMConv2d(_Convolution):
    """Submanifold convolution: the output is occupied where the input is; stride is 1."""

    ndim = 2
    submanifold = True


class SubMConv3d(_Convolution):
    """Submanifold convolution: the output is occupied where the input is; stride is 1."""

    ndim = 3
    submanifold = True


class _InverseConvolution(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        indice_key: str,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias, indice_key=indice_key)

    def find_pairs(self, input: SparseConvTensor) -> Pairs:
        pairs = input.find_indice_pair(self.indice_key)
        if pairs is None:
            raise ValueError(
                f"no layer before this one has indice_key {self.indice_key!r}; give it to the "
                f"convolution to undo, there are {sorted(input.indice_dict)}"
            )
        if len(pairs.output_indices) != len(input.indices):
            raise ValueError(
                f"indice_key {self.indice_key!r} ended in {len(pairs.output_indices)} places, "
                f"the input has {len(input.indices)}"
            )
        rows = [(target, source) for source, target in pairs.rows]
        return Pairs(
            rows, input.indices, pairs.output_shape, pairs.input_indices, pairs.input_shape
        )


class SparseInverseConv2d(_InverseConvolution):
    """Goes back from the output places of the layer with the same key to its input places."""

    ndim = 2


class SparseInverseConv3d(_InverseConvolution):
    """Goes back from the output places of the layer with the same key to its input places."""

    ndim = 3


def per_axis(size: Size, ndim: int) -> tuple[int, ...]:
    """A number for each of ``ndim`` dimensions."""
    sizes = (size,) * ndim if isinstance(size, int) else tuple(size)
    if len(sizes) != ndim:
        raise ValueError(f"expected a number or {ndim} numbers, got {size}")
    return sizes
