"""Convolution with its normalisation and activation."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from okulo_modeling.layers.norm import FrozenBatchNorm2d

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` followed by an optional norm and activation.

    The norm is the child ``norm``, so its entries are ``<name>.norm.*`` in a state dict. A frozen
    norm is folded into weight and bias, which saves passes over the activations; forward hooks on
    such a norm are therefore not called.
    """

    def __init__(
        self,
        *args: Any,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, out_channels, H', W'); N may be 0."""
        if isinstance(self.norm, FrozenBatchNorm2d):
            x = self._conv_forward(x, *self._folded(self.norm))
        else:
            x = self._conv_forward(x, self.weight, self.bias)
            if self.norm is not None:
                x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def _folded(self, norm: FrozenBatchNorm2d) -> tuple[Tensor, Tensor]:
        scale, shift = norm.scale_and_shift()
        if self.bias is not None:
            shift = shift + self.bias * scale
        return self.weight * scale[:, None, None, None], shift
