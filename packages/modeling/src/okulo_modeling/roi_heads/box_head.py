"""The box head: pooled features of a region to one vector."""

from collections.abc import Sequence

import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.norm import Norm, get_norm
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.layers.weight_init import c2_msra_fill, c2_xavier_fill

__all__ = ["FastRCNNConvFCHead", "FastRCNNConvFCHeadConfig"]


class FastRCNNConvFCHead(nn.Module):
    """3x3 convolutions, then fully connected layers, each followed by ReLU.

    Args:
        input_shape: Channels, height and width of the pooled features.
        conv_dims: Output channels of each convolution ``conv{k}``.
        fc_dims: Outputs of each fully connected layer ``fc{k}``.
        conv_norm: See :func:`get_norm`; convolutions have a bias only without norm.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        conv_dims: Sequence[int],
        fc_dims: Sequence[int],
        conv_norm: str = "",
    ) -> None:
        super().__init__()
        if not conv_dims and not fc_dims:
            raise ValueError("a box head needs at least one layer; give conv_dims or fc_dims")
        channels, height, width = input_shape.channels, input_shape.height, input_shape.width
        assert channels is not None
        self._num_convs, self._num_fcs = len(conv_dims), len(fc_dims)
        for k, dim in enumerate(conv_dims, start=1):
            conv = Conv2d(
                channels,
                dim,
                3,
                padding=1,
                bias=not conv_norm,
                norm=get_norm(conv_norm, dim),
                activation=F.relu_,
            )
            c2_msra_fill(conv)
            self.add_module(f"conv{k}", conv)
            channels = dim
        self.output_shape = ShapeSpec(channels=channels, height=height, width=width)
        inputs = channels * (height or 1) * (width or 1)
        for k, dim in enumerate(fc_dims, start=1):
            fc = nn.Linear(inputs, dim)
            c2_xavier_fill(fc)
            self.add_module(f"fc{k}", fc)
            inputs = dim
            self.output_shape = ShapeSpec(channels=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, C, H, W) to (M, fc_dims[-1]), or to (M, conv_dims[-1], H, W) without ``fc``."""
        for k in range(1, self._num_convs + 1):
            x = self.get_submodule(f"conv{k}")(x)
        if self._num_fcs:
            x = x.flatten(1)
        for k in range(1, self._num_fcs + 1):
            x = F.relu_(self.get_submodule(f"fc{k}")(x))
        return x


@frozen(kw_only=True)
class FastRCNNConvFCHeadConfig:
    """Settings of :class:`FastRCNNConvFCHead`; by default two layers of 1024, as published."""

    conv_dims: tuple[int, ...] = ()
    fc_dims: tuple[int, ...] = (1024, 1024)
    conv_norm: Norm = ""

    def build(self, input_shape: ShapeSpec) -> FastRCNNConvFCHead:
        """Build for pooled features of this shape."""
        return FastRCNNConvFCHead(
            input_shape, conv_dims=self.conv_dims, fc_dims=self.fc_dims, conv_norm=self.conv_norm
        )
