"""Resampling of images by filters: insert zeros, pad, filter, keep every n-th sample.

Written from the definition of the operation (as in MATLAB's upfirdn, in two dimensions); it is used
by StyleGAN2 (https://arxiv.org/abs/1912.04958, appendix B).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["upfirdn2d", "filter2d", "upsample2d", "downsample2d"]


def upfirdn2d(
    input: Tensor,
    kernel: Tensor | None,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    pad: int | Sequence[int] = (0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Insert up - 1 zeros after each sample, pad, convolve, keep every down-th sample.

    Args:
        input: (N, C, H, W) floating.
        kernel: (h, w), or (k,) applied along both axes; None is one tap of 1.
        up, down: One integer, or (x, y).
        pad: (x0, x1, y0, y1), or (before, after) for both axes, or one integer; in samples after
            the zeros were inserted, negative crops.
        flip_filter: False convolves, which turns the kernel round; True correlates.
        gain: Factor of the result.

    Returns:
        (N, C, H', W'), dtype of ``input``, H' = (H * up + y0 + y1 - h) // down + 1. The gradient
        flows to ``input``.
    """
    check_floating("input", input, ("N", "C", "H", "W"))
    kernel = input.new_ones(1) if kernel is None else kernel
    if kernel.ndim not in (1, 2) or kernel.numel() == 0:
        raise ValueError(f"kernel must have shape (h, w) or (k,), got {tuple(kernel.shape)}")
    check_same_device(input=input, kernel=kernel)
    taps = kernel.detach().to(in_float32(input).dtype)
    ux, uy = _pair("up", up)
    dx, dy = _pair("down", down)
    x0, x1, y0, y1 = _four(pad)
    if kernel.ndim == 2:
        taps = taps if flip_filter else taps.flip(0, 1)
        return _checked(input, taps * gain, [ux, uy], [dx, dy], [x0, x1, y0, y1])
    taps = taps if flip_filter else taps.flip(0)
    rows = _checked(input, taps[None] * gain, [ux, 1], [dx, 1], [x0, x1, 0, 0])
    return _checked(rows, taps[:, None], [1, uy], [1, dy], [0, 0, y0, y1])


def filter2d(
    input: Tensor,
    filter: Tensor | None,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` whose result lies on its input and has its size, but for ``padding``.

    ``padding``: one integer, (x, y), or (x0, x1, y0, y1), by which the result is larger.
    """
    w, h = _size(filter)
    pad = _grown(padding, [w // 2, (w - 1) // 2, h // 2, (h - 1) // 2])
    return upfirdn2d(input, filter, pad=pad, flip_filter=flip_filter, gain=gain)


def upsample2d(
    input: Tensor,
    filter: Tensor | None,
    up: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` to ``up`` times the size, of the same mean; ``padding`` as in
    :func:`filter2d`, in samples of the result."""
    (w, h), (ux, uy) = _size(filter), _pair("up", up)
    pad = [(w + ux - 1) // 2, (w - ux) // 2, (h + uy - 1) // 2, (h - uy) // 2]
    return upfirdn2d(input, filter, up, 1, _grown(padding, pad), flip_filter, gain * float(ux * uy))


def downsample2d(
    input: Tensor,
    filter: Tensor | None,
    down: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` to 1 / ``down`` of the size; ``padding`` as in :func:`filter2d`, in
    samples of the input."""
    (w, h), (dx, dy) = _size(filter), _pair("down", down)
    pad = [(w - dx + 1) // 2, (w - dx) // 2, (h - dy + 1) // 2, (h - dy) // 2]
    return upfirdn2d(input, filter, 1, down, _grown(padding, pad), flip_filter, gain)


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name} must be a positive integer or two of them, got {value}")
    return pair[0], pair[1]


def _four(pad: int | Sequence[int]) -> list[int]:
    values = [pad, pad] if isinstance(pad, int) else list(pad)
    if len(values) not in (2, 4):
        raise ValueError(f"pad must be one, two or four integers, got {pad}")
    return values if len(values) == 4 else values * 2


def _size(filter: Tensor | None) -> tuple[int, int]:
    if filter is None:
        return 1, 1
    if filter.ndim not in (1, 2):
        raise ValueError(f"filter must have shape (h, w) or (k,), got {tuple(filter.shape)}")
    return filter.shape[-1], filter.shape[0]


def _grown(padding: int | Sequence[int], by: Sequence[int]) -> list[int]:
    values = [padding] * 4 if isinstance(padding, int) else list(padding)
    if len(values) == 2:
        values = [values[0], values[0], values[1], values[1]]
    if len(values) != 4:
        raise ValueError(f"padding must be one, two or four integers, got {padding}")
    return [a + b for a, b in zip(values, by, strict=True)]


def _checked(input: Tensor, taps: Tensor, up: list[int], down: list[int], pad: list[int]) -> Tensor:
    if min(_output_size(input, taps, up, down, pad)) < 1:
        raise ValueError(
            f"input of {tuple(input.shape[2:])} is too small for up {up}, pad {pad} and a kernel "
            f"of {tuple(taps.shape)}; pad it more"
        )
    return _upfirdn2d(input, taps, up, down, pad)  # type: ignore[no-any-return]


def _output_size(
    input: Tensor, taps: Tensor, up: list[int], down: list[int], pad: list[int]
) -> tuple[int, int]:
    height = input.shape[2] * up[1] + pad[2] + pad[3] - taps.shape[0]
    width = input.shape[3] * up[0] + pad[0] + pad[1] - taps.shape[1]
    return height // down[1] + 1, width // down[0] + 1


def _meaning(input: Tensor, taps: Tensor, up: list[int], down: list[int], pad: list[int]) -> Tensor:
    n, c, h, w = input.shape
    x = in_float32(input).reshape(n * c, 1, h, 1, w, 1)
    x = F.pad(x, (0, up[0] - 1, 0, 0, 0, up[1] - 1)).reshape(n * c, 1, h * up[1], w * up[0])
    x = F.pad(x, pad)
    x = F.conv2d(x, in_float32(taps)[None, None].to(x.dtype), stride=(down[1], down[0]))
    return x.reshape(n, c, *x.shape[2:]).to(input.dtype)


_upfirdn2d = define(
    "upfirdn2d(Tensor input, Tensor taps, int[] up, int[] down, int[] pad) -> Tensor",
    _meaning,
    lambda input, *others: input.new_empty((*input.shape[:2], *_output_size(input, *others))),
    gradient=["input"],
)
