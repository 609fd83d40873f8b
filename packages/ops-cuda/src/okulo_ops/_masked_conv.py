"""Convolution at chosen pixels only (Guided Anchoring, https://arxiv.org/abs/1901.03278)."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["masked_conv2d", "MaskedConv2d"]

IntPair = int | tuple[int, int]


def masked_conv2d(
    features: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: IntPair = 0,
    stride: IntPair = 1,
    dilation: IntPair = 1,
) -> Tensor:
    """Convolve where the mask is positive; everywhere else the result is zero, bias included.

    Args:
        features: (N, C_in, H, W) floating.
        mask: (N, H_out, W_out), one flag for each output pixel, > 0 where it is wanted.
        weight: (C_out, C_in, kh, kw).
        bias: (C_out,).
        padding, dilation: One number or (vertical, horizontal).
        stride: Must be 1.

    Returns:
        (N, C_out, H_out, W_out), dtype of ``features``. No gradient flows to ``mask``.

    Raises:
        ValueError: Shapes differ from the above, or the stride is not 1.
    """
    if _pair(stride) != (1, 1):
        raise ValueError(f"masked_conv2d works with stride 1 only, got {stride}")
    check_floating("features", features, ("N", "C_in", "H", "W"))
    check_floating("weight", weight, ("C_out", "C_in", "kh", "kw"))
    _check(features, mask, weight, bias, _pair(padding), _pair(dilation))
    flags = (mask > 0).to(features.dtype)
    result: Tensor = _masked_conv(
        features, flags, weight, bias, list(_pair(padding)), list(_pair(dilation))
    )
    return result


class MaskedConv2d(nn.Conv2d):
    """A convolution that can be told where it is wanted.

    With a mask it needs stride 1 and one group; ``dilation`` holds with and without one.
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, C_in, H, W), mask (N, H_out, W_out) or None -> (N, C_out, H_out, W_out)."""
        if mask is None:
            return super().forward(input)
        if self.groups != 1:
            raise ValueError(f"MaskedConv2d with a mask needs groups=1, got {self.groups}")
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            raise ValueError(
                f"MaskedConv2d with a mask needs padding by a number of zeros, got "
                f"padding={self.padding!r}, padding_mode={self.padding_mode!r}"
            )
        return masked_conv2d(
            input,
            mask,
            self.weight,
            self.bias,
            _pair(self.padding),
            _pair(self.stride),
            _pair(self.dilation),
        )


def _check(
    features: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    channels = features.shape[1]
    if weight.shape[1] != channels or 0 in weight.shape[1:]:
        raise ValueError(
            f"weight must have {channels} input channels as features has, at least one, and taps, "
            f"got shape {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have shape ({len(weight)},), got {tuple(bias.shape)}")
    size = [
        features.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1)
        for i in (0, 1)
    ]
    if min(size) <= 0 or mask.shape != (len(features), *size):
        raise ValueError(
            f"mask must have shape {(len(features), *size)}, one flag for each pixel of the "
            f"output, got {tuple(mask.shape)}"
        )
    check_same_device(features=features, mask=mask, weight=weight)


def _meaning(
    input: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    # Contiguous: the sums of channels-last convolutions round differently.
    x, kernels = in_float32(input).contiguous(), in_float32(weight).contiguous()
    shift = None if bias is None else in_float32(bias)
    dense = F.conv2d(x, kernels, shift, padding=padding, dilation=dilation)
    return dense.masked_fill(mask[:, None] <= 0, 0).to(input.dtype)


_masked_conv = define(
    "masked_conv2d(Tensor input, Tensor mask, Tensor weight, Tensor? bias, int[] padding, "
    "int[] dilation) -> Tensor",
    _meaning,
    lambda input, mask, weight, *_: input.new_empty(len(input), len(weight), *mask.shape[1:]),
    gradient=["input", "weight", "bias"],
    autocast="lower",
)
