"""Which occupied input place meets which output place under each element of a kernel."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Geometry", "Pairs", "find_pairs"]


class Geometry(NamedTuple):
    """A kernel over D dimensions; each field has D numbers."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]

    def output_shape(self, shape: Sequence[int], transposed: bool) -> tuple[int, ...]:
        if transposed:
            return tuple(
                (size - 1) * s - 2 * p + d * (k - 1) + 1 + extra
                for size, (k, s, p, d, extra) in zip(shape, zip(*self, strict=True), strict=True)
            )
        return tuple(
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, (k, s, p, d, _) in zip(shape, zip(*self, strict=True), strict=True)
        )


class Pairs(NamedTuple):
    """The result: rows of the input and of the output that meet, by kernel element."""

    rows: list[tuple[Tensor, Tensor]]
    """For each kernel element, row-major: (P,) input rows, (P,) output rows; int64."""
    input_indices: Tensor
    input_shape: tuple[int, ...]
    output_indices: Tensor
    output_shape: tuple[int, ...]


def find_pairs(
    indices: Tensor, shape: tuple[int, ...], geometry: Geometry, submanifold: bool, transposed: bool
) -> Pairs:
    """Pairs of a convolution over places ``indices`` (N, 1 + D).

    A submanifold convolution has the output places of its input; any other has those that at least
    one input place reaches, in the order of their coordinates.
    """
    output_shape = shape if submanifold else geometry.output_shape(shape, transposed)
    if min(output_shape) < 1:
        raise ValueError(f"no output place: a grid of {shape} is smaller than {geometry}")
    image, places = indices[:, :1].long(), indices[:, 1:].long()
    reached, sources = [], []
    limits = torch.tensor(output_shape, device=indices.device)
    for element in itertools.product(*map(range, geometry.kernel_size)):
        target, fits = _target(places, element, geometry, transposed)
        fits = (fits & (target >= 0) & (target < limits)).all(dim=1)
        sources.append(fits.nonzero()[:, 0])
        reached.append(_flatten(torch.cat((image, target), dim=1)[fits], output_shape))
    if submanifold:
        known, order = _flatten(indices.long(), shape).sort()
        output_indices = indices
    else:
        known = torch.cat(reached).unique()
        order = torch.arange(len(known), device=indices.device)
        output_indices = _unflatten(known, output_shape).to(indices.dtype)
    rows = [
        _meet(source, flat, known, order) for source, flat in zip(sources, reached, strict=True)
    ]
    return Pairs(rows, indices, shape, output_indices, output_shape)


def _target(
    places: Tensor, element: tuple[int, ...], geometry: Geometry, transposed: bool
) -> tuple[Tensor, Tensor]:
    """Where a kernel element takes each place, and whether that lies on the output's raster."""

    def along(values: Sequence[int]) -> Tensor:
        return torch.tensor(values, device=places.device)

    step = along([k * d for k, d in zip(element, geometry.dilation, strict=True)])
    stride, padding = along(geometry.stride), along(geometry.padding)
    if transposed:
        target = places * stride - padding + step
        return target, torch.ones_like(target, dtype=torch.bool)
    raster = places + padding - step
    return raster.div(stride, rounding_mode="floor"), raster % stride == 0


def _meet(source: Tensor, flat: Tensor, known: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Input rows ``source`` and the output rows whose place is ``flat``, where there is one."""
    if len(known) == 0:
        return source[:0], source[:0]
    at = torch.searchsorted(known, flat).clamp(max=len(known) - 1)
    found = known[at] == flat
    return source[found], order[at[found]]


def _flatten(indices: Tensor, shape: Sequence[int]) -> Tensor:
    strides = [math.prod(shape[i:]) for i in range(len(shape) + 1)]
    return (indices * torch.tensor(strides, device=indices.device)).sum(dim=1)


def _unflatten(flat: Tensor, shape: Sequence[int]) -> Tensor:
    columns = []
    for size in reversed(shape):
        columns.append(flat % size)
        flat = flat.div(size, rounding_mode="floor")
    return torch.stack((flat, *reversed(columns)), dim=1)
