"""Convolution whose taps are displaced by offsets, and weighted by a mask in its second version.

https://arxiv.org/abs/1703.06211 (Eq. 2) and https://arxiv.org/abs/1811.11168 (Eq. 1).

Every tap of the kernel, at every output position, reads the input at its regular place plus its
offset, in pixels of the input and not multiplied by ``dilation``. Between pixels the input is
interpolated bilinearly; outside of it, it is zero, and so is a sample one pixel or further away.
"""

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define
from okulo_ops._torchvision import torchvision_ops

__all__ = ["deform_conv2d", "modulated_deform_conv2d", "deform_conv", "modulated_deform_conv"]

IntPair = int | tuple[int, int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """Deformable convolution, version 1.

    Args:
        input: (N, C_in, H, W) floating.
        offset: (N, deform_groups * kh * kw * 2, H_out, W_out) in pixels; for each group of channels
            and each tap, row by row, first the vertical displacement, then the horizontal one.
        weight: (C_out, C_in / groups, kh, kw).
        stride, padding, dilation: One number or (vertical, horizontal).
        groups: Groups of channels of the convolution.
        deform_groups: Groups of input channels with offsets of their own.
        bias: Must be False; version 2 has one.
        im2col_step: Ignored: memory is bounded without it, and any batch will do.

    Returns:
        (N, C_out, H_out, W_out), dtype of ``input``; float16 and bfloat16 are summed in float32.

    Raises:
        ValueError: Shapes differ from the above, or the output would have no pixels.
    """
    if bias:
        raise ValueError(f"deform_conv2d has no bias, got {bias!r}; use modulated_deform_conv2d")
    return _convolve(
        input, offset, None, weight, None, stride, padding, dilation, groups, deform_groups
    )


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Deformable convolution, version 2: as :func:`deform_conv2d`, each sample times its mask.

    Args:
        input, offset, weight, stride, padding, dilation, groups, deform_groups: As there.
        mask: (N, deform_groups * kh * kw, H_out, W_out), such as the sigmoid of a convolution.
        bias: (C_out,).
    """
    return _convolve(
        input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups
    )


def deform_conv(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    im2col_step: int = 64,
) -> Tensor:
    """:func:`deform_conv2d` by detectron2's name and order of arguments."""
    return _convolve(
        input, offset, None, weight, None, stride, padding, dilation, groups, deformable_groups
    )


def modulated_deform_conv(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    deformable_groups: int = 1,
) -> Tensor:
    """:func:`modulated_deform_conv2d` by detectron2's name and order of arguments."""
    return _convolve(
        input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups
    )


def output_size(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
) -> tuple[int, int]:
    """(height, width) after a convolution; not positive where the kernel does not fit."""
    steps, borders, gaps = _pair(stride), _pair(padding), _pair(dilation)
    height, width = (
        (size[i] + 2 * borders[i] - gaps[i] * (kernel[i] - 1) - 1) // steps[i] + 1 for i in (0, 1)
    )
    return height, width


def _convolve(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    deform_groups: int,
) -> Tensor:
    _check_channels(input, weight, bias, groups, deform_groups)
    _check_samples(input, offset, mask, weight, stride, padding, dilation, deform_groups)
    steps = _pair(stride), _pair(padding), _pair(dilation)
    theirs = torchvision_ops(input, offset, mask, weight, bias)
    if theirs is not None and input.numel() > 0:  # it refuses an empty batch
        return theirs.deform_conv2d(input, offset, weight, bias, *steps, mask)  # type: ignore[no-any-return]
    lists = [list(step) for step in steps]
    return _deform_conv(input, offset, mask, weight, bias, *lists, groups, deform_groups)  # type: ignore[no-any-return]


def _check_channels(
    input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, deform_groups: int
) -> None:
    check_floating("input", input, ("N", "C_in", "H", "W"))
    check_floating("weight", weight, ("C_out", "C_in / groups", "kh", "kw"))
    channels, out_channels = input.shape[1], len(weight)
    if min(groups, deform_groups) < 1:
        raise ValueError(
            f"groups and deform_groups must be at least 1, got {groups} and {deform_groups}"
        )
    if channels == 0:
        raise ValueError(f"input must have channels, got shape {tuple(input.shape)}")
    if channels % groups or out_channels % groups or channels % deform_groups:
        raise ValueError(
            f"groups must divide the channels of input and output, and deform_groups those of "
            f"input, got {channels} and {out_channels} channels, groups={groups}, "
            f"deform_groups={deform_groups}"
        )
    if weight.shape[1] * groups != channels:
        raise ValueError(
            f"weight must have {channels // groups} input channels, the {channels} of input "
            f"divided by groups={groups}, got shape {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(
            f"bias must have shape ({out_channels},), one for each output channel, "
            f"got {tuple(bias.shape)}"
        )


def _check_samples(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    deform_groups: int,
) -> None:
    kernel = weight.shape[2], weight.shape[3]
    if min(*_pair(stride), *_pair(dilation), *kernel) < 1:
        raise ValueError(
            f"stride, dilation and kernel must be at least 1, got {stride}, {dilation}, {kernel}"
        )
    size = output_size((input.shape[2], input.shape[3]), kernel, stride, padding, dilation)
    if min(size) <= 0:
        raise ValueError(
            f"the output would have size {size[0]} x {size[1]}: an input of {input.shape[2]} x "
            f"{input.shape[3]} pixels is too small for a kernel of {kernel[0]} x {kernel[1]} with "
            f"padding {padding} and dilation {dilation}; pad it"
        )
    samples = deform_groups * kernel[0] * kernel[1]
    expected = {"offset": (offset, 2 * samples)}
    if mask is not None:
        expected["mask"] = (mask, samples)
    for name, (tensor, channels) in expected.items():
        check_floating(name, tensor, ("N", "C", "H_out", "W_out"))
        if tensor.shape != (len(input), channels, *size):
            raise ValueError(
                f"{name} must have shape {(len(input), channels, *size)} for this input, kernel, "
                f"stride, padding and dilation, got {tuple(tensor.shape)}"
            )
    check_same_device(input=input, weight=weight, offset=offset)


def _meaning(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    x, kernels = in_float32(input), in_float32(weight)
    batch, channels, height, width = x.shape
    taps, out_size = weight.shape[2] * weight.shape[3], offset.shape[2:]
    shift = in_float32(offset).reshape(batch, deform_groups, taps, 2, *out_size)
    grid_y, grid_x = _grid(weight, out_size, stride, padding, dilation, shift)
    y, x_ = grid_y + shift[:, :, :, 0], grid_x + shift[:, :, :, 1]
    planes = x.reshape(batch, deform_groups, channels // deform_groups, height * width)
    samples = _bilinear(planes, y.flatten(2), x_.flatten(2), height, width)
    if mask is not None:
        samples = samples * in_float32(mask).reshape(samples[:, :, :1].shape)
    columns = samples.reshape(batch, groups, channels // groups * taps, out_size.numel())
    product = kernels.reshape(groups, len(weight) // groups, columns.shape[2]) @ columns
    result = product.reshape(batch, len(weight), *out_size)
    if bias is not None:
        result = result + in_float32(bias)[:, None, None]
    return result.to(input.dtype)


def _grid(
    weight: Tensor,
    out_size: torch.Size,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    like: Tensor,
) -> list[Tensor]:
    """Where undisplaced taps sample: y as (taps, H_out, 1) and x as (taps, 1, W_out)."""
    kernel = weight.shape[2:]
    axes = []
    for i in (0, 1):
        starts = torch.arange(out_size[i], device=like.device) * stride[i] - padding[i]
        axes.append([torch.arange(kernel[i], device=like.device) * dilation[i], starts])
    tap_y = axes[0][0].repeat_interleave(kernel[1])[:, None, None]
    tap_x = axes[1][0].repeat(kernel[0])[:, None, None]
    return [(tap_y + axes[0][1][:, None]).to(like.dtype), (tap_x + axes[1][1]).to(like.dtype)]


def _bilinear(planes: Tensor, y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """(N, G, C, H * W) sampled at (N, G, P) points, zero outside -> (N, G, C, P)."""
    inside = (y > -1) & (x > -1) & (y < height) & (x < width)
    y, x = torch.where(inside, y, -2), torch.where(inside, x, -2)
    floor_y, floor_x = y.detach().floor(), x.detach().floor()
    result: Tensor | None = None
    for row, share_y in ((floor_y, floor_y + 1 - y), (floor_y + 1, y - floor_y)):
        for column, share_x in ((floor_x, floor_x + 1 - x), (floor_x + 1, x - floor_x)):
            exists = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = torch.where(exists, row.long() * width + column.long(), 0)[:, :, None]
            values = planes.gather(3, index.expand(-1, -1, planes.shape[2], -1))
            weight = torch.where(exists, share_y * share_x, 0)[:, :, None]
            term = torch.where(exists[:, :, None], values, 0) * weight
            result = term if result is None else result + term
    assert result is not None
    return result


def _fake(input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, *_: object) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[0], offset.shape[2], offset.shape[3])


_deform_conv = define(
    "deform_conv2d(Tensor input, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, "
    "int[] stride, int[] padding, int[] dilation, int groups, int deform_groups) -> Tensor",
    _meaning,
    _fake,
    gradient=["input", "offset", "mask", "weight", "bias"],
    autocast="lower",
)
