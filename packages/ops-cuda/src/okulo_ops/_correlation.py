"""Cost volume of two feature maps (FlowNet, https://arxiv.org/abs/1504.06852, Eq. 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["Correlation"]


class Correlation(nn.Module):
    """Products of the windows of one map with displaced windows of another.

    ``out[n, i, j, y, x]`` is the sum over channels and over the taps of the window at output pixel
    (y, x) of the first map times the second map ``((i - d) * p, (j - d) * p)`` pixels further, with
    d = ``max_displacement`` and p = ``dilation_patch``. Outside of both maps there are zeros.

    Args:
        kernel_size: Taps of a window, in each direction.
        max_displacement: Steps of displacement to each side.
        stride, padding, dilation: Of the windows, as in a convolution.
        dilation_patch: Pixels of the second map in a step of displacement.
    """

    def __init__(
        self,
        kernel_size: int = 1,
        max_displacement: int = 1,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        dilation_patch: int = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.max_displacement = max_displacement
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.dilation_patch = dilation_patch

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Two (N, C, H, W) -> (N, 2 d + 1, 2 d + 1, H_out, W_out), dtype of ``input1``."""
        for name, value in (("input1", input1), ("input2", input2)):
            check_floating(name, value, ("N", "C", "H", "W"))
        if input1.shape != input2.shape or input1.dtype != input2.dtype:
            raise ValueError(
                f"input2 must have the shape and dtype of input1, {tuple(input1.shape)} and "
                f"{input1.dtype}, got {tuple(input2.shape)} and {input2.dtype}"
            )
        check_same_device(input1=input1, input2=input2)
        size = _out_size(input1, self.kernel_size, self.stride, self.padding, self.dilation)
        if min(size) <= 0:
            raise ValueError(
                f"the output would have size {size[0]} x {size[1]}: inputs of shape "
                f"{tuple(input1.shape)} are too small for these windows; raise padding"
            )
        result: Tensor = _correlation(
            input1,
            input2,
            self.kernel_size,
            self.max_displacement,
            self.stride,
            self.padding,
            self.dilation,
            self.dilation_patch,
        )
        return result

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, max_displacement={self.max_displacement}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"dilation_patch={self.dilation_patch}"
        )


def _out_size(x: Tensor, kernel: int, stride: int, padding: int, dilation: int) -> list[int]:
    return [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for size in x.shape[2:]
    ]


def _meaning(
    input1: Tensor,
    input2: Tensor,
    kernel: int,
    reach: int,
    stride: int,
    padding: int,
    dilation: int,
    patch_dilation: int,
) -> Tensor:
    a, b = in_float32(input1).contiguous(), in_float32(input2).contiguous()
    height, width = a.shape[2:]
    border = reach * patch_dilation
    padded = F.pad(b, (border, border, border, border))
    steps = range(0, 2 * border + 1, patch_dilation) if reach else (0,)
    products = torch.stack(
        [(a * padded[:, :, y : y + height, x : x + width]).sum(1) for y in steps for x in steps], 1
    )
    window = products.new_ones(products.shape[1], 1, kernel, kernel)
    sums = F.conv2d(products, window, None, stride, padding, dilation, products.shape[1])
    return sums.unflatten(1, (2 * reach + 1, 2 * reach + 1)).to(input1.dtype)


def _fake(
    input1: Tensor,
    input2: Tensor,
    kernel: int,
    reach: int,
    stride: int,
    padding: int,
    dilation: int,
    patch_dilation: int,
) -> Tensor:
    size = _out_size(input1, kernel, stride, padding, dilation)
    return input1.new_empty(len(input1), 2 * reach + 1, 2 * reach + 1, *size)


_correlation = define(
    "correlation(Tensor input1, Tensor input2, int kernel, int reach, int stride, int padding, "
    "int dilation, int patch_dilation) -> Tensor",
    _meaning,
    _fake,
    gradient=["input1", "input2"],
    autocast="float32",
)
