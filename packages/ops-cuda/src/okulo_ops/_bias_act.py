"""Bias and activation in one pass (StyleGAN2, https://arxiv.org/abs/1912.04958; StyleGAN3,
https://arxiv.org/abs/2106.12423), written from the formulas."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from okulo_ops._checks import check_same_device, check_vector, in_float32
from okulo_ops._operator import define
from okulo_ops._upfirdn2d import upfirdn2d

__all__ = ["fused_bias_leakyrelu", "FusedBiasLeakyReLU", "bias_act", "filtered_lrelu"]

_ROOT_OF_2 = math.sqrt(2)

# Name -> function, and the gain that keeps the variance of a normal input, as the paper has it.
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (F.relu, _ROOT_OF_2),
    "lrelu": (F.leaky_relu, _ROOT_OF_2),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (F.elu, 1.0),
    "selu": (F.selu, 1.0),
    "softplus": (F.softplus, 1.0),
    "swish": (F.silu, _ROOT_OF_2),
}


def fused_bias_leakyrelu(
    input: Tensor, bias: Tensor | None, negative_slope: float = 0.2, scale: float = _ROOT_OF_2
) -> Tensor:
    """scale * leaky_relu(input + bias).

    Args:
        input: (N, C, ...) floating, any rank from 2.
        bias: (C,), or None for none.
        negative_slope, scale: Any numbers, zero and negative ones included.

    Returns:
        Shape and dtype of ``input``; twice differentiable by ``input`` and ``bias``.
    """
    if input.ndim < 2 or not input.is_floating_point():
        raise ValueError(
            f"input must be floating of shape (N, C, ...), got {input.dtype} of "
            f"{tuple(input.shape)}"
        )
    if bias is None:
        bias = input.new_zeros(input.shape[1])
    check_vector("bias", bias, input.shape[1])
    check_same_device(input=input, bias=bias)
    out: Tensor = _fused(input, bias.to(input.dtype), negative_slope, scale)
    return out


class FusedBiasLeakyReLU(nn.Module):
    """:func:`fused_bias_leakyrelu` with a bias that is learnt, zero at first."""

    def __init__(
        self, num_channels: int, negative_slope: float = 0.2, scale: float = _ROOT_OF_2
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.negative_slope = negative_slope
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        return fused_bias_leakyrelu(input, self.bias, self.negative_slope, self.scale)

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, negative_slope={self.negative_slope:g}, scale={self.scale:g}"


def bias_act(
    input: Tensor,
    bias: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """clamp(gain * act(input + bias)).

    Args:
        input: Floating, any shape.
        bias: (input.shape[dim],), or None for none.
        dim: What ``bias`` runs along.
        act: "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus" or "swish".
        alpha: Slope of "lrelu" below zero; None is 0.2. No other activation has it.
        gain: None is sqrt(2) for "relu", "lrelu" and "swish", else 1.
        clamp: The result is kept in [-clamp, clamp]; None leaves it.

    Returns:
        Shape and dtype of ``input``; differentiable by ``input`` and ``bias``, any number of times.
    """
    if act not in _ACTIVATIONS:
        raise ValueError(f"act must be one of {', '.join(_ACTIVATIONS)}, got {act!r}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp must not be negative, got {clamp}")
    if bias is not None:
        if not -input.ndim <= dim < input.ndim:
            raise ValueError(f"dim must be one of the {input.ndim} of input, got {dim}")
        check_vector("bias", bias, input.shape[dim])
        check_same_device(input=input, bias=bias)
    function, usual = _ACTIVATIONS[act]
    factor = usual if gain is None else gain
    slope = 0.2 if alpha is None else alpha
    if act == "lrelu" and input.ndim >= 2 and dim == 1:
        out = fused_bias_leakyrelu(input, bias, slope, factor)
    else:
        x = in_float32(input)
        if bias is not None:
            x = x + bias.to(x.dtype).reshape(
                [-1 if i == dim % x.ndim else 1 for i in range(x.ndim)]
            )
        x = F.leaky_relu(x, slope) if act == "lrelu" else function(x)
        out = (x * factor).to(input.dtype)
    return out if clamp is None else out.clamp(-clamp, clamp)


def filtered_lrelu(
    input: Tensor,
    filter_up: Tensor | None = None,
    filter_down: Tensor | None = None,
    bias: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = _ROOT_OF_2,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Tensor:
    """Leaky ReLU between a finer grid and back, which keeps it from aliasing (StyleGAN3, 3.2).

    Adds ``bias``, resamples by ``up`` with ``filter_up`` after ``padding``, takes
    ``clamp(gain * leaky_relu(x))``, resamples by 1 / ``down`` with ``filter_down``.

    Args:
        input: (N, C, H, W) floating.
        filter_up, filter_down: (h, w) or (k,); None is one tap of 1.
        bias: (C,).
        up, down: Factors of both axes.
        padding: As ``pad`` of :func:`upfirdn2d`, on the finer grid.
        gain, slope, clamp: Of the activation; see :func:`bias_act`.
        flip_filter: See :func:`upfirdn2d`.

    Returns:
        (N, C, H', W'), dtype of ``input``; differentiable by ``input`` and ``bias``, twice.
    """
    x = bias_act(input, bias)
    x = upfirdn2d(x, filter_up, up, 1, padding, flip_filter, float(up**2))
    x = bias_act(x, None, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, filter_down, 1, down, 0, flip_filter)


def _fused_meaning(input: Tensor, bias: Tensor, slope: float, scale: float) -> Tensor:
    along = in_float32(bias).reshape(1, -1, *[1] * (input.ndim - 2))
    x = in_float32(input) + along
    return (torch.where(x > 0, x, x * slope) * scale).to(input.dtype)


_fused = define(
    "fused_bias_leakyrelu(Tensor input, Tensor bias, float slope, float scale) -> Tensor",
    _fused_meaning,
    lambda input, *_: input.new_empty(input.shape),
    gradient=["input", "bias"],
)
