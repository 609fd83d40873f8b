"""Switchable atrous convolution (DetectoRS, https://arxiv.org/abs/2006.02334, section 3.3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from okulo_ops._deform_conv import deform_conv2d

__all__ = ["SAConv2d"]


class SAConv2d(nn.Conv2d):
    """Mixes, pixel by pixel, a convolution with one of three times its dilation.

    A context of global averages is added before and after. The kernel is standardised for each
    output channel: ``weight_gamma * (w - mean) / sqrt(variance + 1e-5) + weight_beta``. Weights
    that lack these two buffers, such as those of a plain convolution, are loaded so that the
    standardised kernel equals them. It starts as a plain convolution with a standardised kernel.

    Args:
        bias: Adds a parameter ``bias`` to the state, as published weights have it; it is not used.
        use_deform: Displace the taps by offsets predicted from the input; 3 x 3 kernels only.
    """

    weight_gamma: Tensor
    weight_beta: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        use_deform: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        if use_deform and self.kernel_size != (3, 3):
            raise ValueError(f"use_deform needs a 3 x 3 kernel, got {self.kernel_size}")
        self.use_deform = use_deform
        self.weight_diff = nn.Parameter(torch.zeros_like(self.weight))
        self.register_buffer("weight_gamma", torch.ones(out_channels, 1, 1, 1))
        self.register_buffer("weight_beta", torch.zeros(out_channels, 1, 1, 1))
        self.switch = _zero(nn.Conv2d(in_channels, 1, 1, stride=stride), bias=1.0)
        self.pre_context = _zero(nn.Conv2d(in_channels, in_channels, 1))
        self.post_context = _zero(nn.Conv2d(out_channels, out_channels, 1))
        if use_deform:
            self.offset_s = _zero(nn.Conv2d(in_channels, 18, 3, stride, padding))
            self.offset_l = _zero(nn.Conv2d(in_channels, 18, 3, stride, padding))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) with H and W of at least 3 -> (N, C_out, H_out, W_out)."""
        x = x + self.pre_context(F.adaptive_avg_pool2d(x, 1))
        near = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
        switch = self.switch(near)
        weight = self._standardised()
        small = self._branch(x, near, weight, 1)
        large = self._branch(x, near, weight + self.weight_diff, 3)
        mixed = switch * small + (1 - switch) * large
        return mixed + self.post_context(F.adaptive_avg_pool2d(mixed, 1))

    def _branch(self, x: Tensor, near: Tensor, weight: Tensor, times: int) -> Tensor:
        padding = times * int(self.padding[0]), times * int(self.padding[1])
        dilation = times * self.dilation[0], times * self.dilation[1]
        stride = self.stride[0], self.stride[1]
        if not self.use_deform:
            return F.conv2d(x, weight, None, stride, padding, dilation, self.groups)
        offset = (self.offset_s if times == 1 else self.offset_l)(near)
        return deform_conv2d(x, offset, weight, stride, padding, dilation, self.groups)

    def _standardised(self) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        standard = (self.weight - mean) / (variance + 1e-5).sqrt()
        return self.weight_gamma * standard + self.weight_beta

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        *args: Any,
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, *args
        )
        buffers = [f"{prefix}weight_gamma", f"{prefix}weight_beta"]
        if f"{prefix}weight" in state_dict and not any(key in state_dict for key in buffers):
            with torch.no_grad():
                variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
                self.weight_gamma.copy_((variance + 1e-5).sqrt())
                self.weight_beta.copy_(mean)
            missing_keys[:] = [key for key in missing_keys if key not in buffers]


def _zero(layer: nn.Conv2d, bias: float = 0.0) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer
