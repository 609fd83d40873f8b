"""What operators that pool regions of a feature map share: their checks, and their sums of pixels.

Feature coordinates: the feature at index i stands at i; boxes are half a pixel from that.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from okulo_ops._checks import check_boxes, check_same_device, in_float32

__all__ = [
    "bilinear_taps",
    "check_features",
    "check_rois",
    "computed_in",
    "every_sample",
    "height_and_width",
    "samples_along",
    "sum_of_pixels",
]


def height_and_width(output_size: int | tuple[int, int]) -> tuple[int, int]:
    """The bins of a region, from one number for both axes or from (height, width)."""
    pair = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"output_size must be 1 or more, or two such numbers, got {output_size}")
    return int(pair[0]), int(pair[1])


def computed_in(tensor: Tensor) -> torch.dtype:
    """The dtype of sums over pixels and of coordinates: float32, or float64 if the tensor is."""
    return torch.promote_types(tensor.dtype, torch.float32)


def check_features(name: str, features: Tensor) -> None:
    """Refuse anything but a floating (N, C, H, W) tensor with pixels in it."""
    if not isinstance(features, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(features).__name__}")
    if features.ndim != 4 or 0 in features.shape[2:]:
        raise ValueError(
            f"{name} must have shape (N, C, H, W) with H and W of 1 or more, "
            f"got {tuple(features.shape)}"
        )
    if not features.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {features.dtype}; use .float()")


def check_rois(
    features: Tensor,
    rois: Tensor,
    columns: int,
    *,
    name: str = "rois",
    sizes: slice = slice(0, 0),
    finite: slice = slice(0, 0),
) -> None:
    """Refuse regions of another shape, and on the CPU those outside the batch or of negative size.

    A GPU would have to wait for the values; there a region outside the batch has no pixels.

    Args:
        features: (N, C, H, W).
        rois: (K, columns), index of the image first.
        name: What the caller calls them.
        sizes: Columns that must be finite and 0 or more.
        finite: Columns that must be finite.
    """
    check_boxes(name, rois, columns)
    check_same_device(**{"features": features, name: rois})
    if rois.device.type != "cpu" or torch.compiler.is_compiling() or len(rois) == 0:
        return
    low, high = rois[:, 0].aminmax()
    if not (low >= 0 and high < len(features)):
        raise ValueError(
            f"column 0 of {name} must index one of the {len(features)} images, "
            f"got values from {low.item():g} to {high.item():g}"
        )
    for values, least, demand in (
        (rois[:, sizes], 0, "sizes of {} must be finite and 0 or more"),
        (rois[:, finite], -torch.inf, "coordinates of {} must be finite"),
    ):
        wrong = values[~(values.isfinite() & (values >= least))]
        if len(wrong):
            raise ValueError(f"{demand.format(name)}, got {wrong[0].item():g}")


def samples_along(bins: Tensor, asked: int) -> Tensor:
    """Samples of bins of these sizes, int64: as many as were asked for, or one for each cell; none
    in a bin so large that their places could not be told apart."""
    if asked > 0:
        return torch.full_like(bins, asked, dtype=torch.int64)
    cells = bins.ceil()
    return torch.where((cells >= 1) & (cells < 2**22), cells, 0).long()


def every_sample(
    height: int, width: int, rows: Tensor, columns: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """List the samples of K regions of height x width bins, each with its own samples per bin.

    Args:
        height, width: Bins.
        rows, columns: (K,) int64, samples of each bin of a region.
        dtype: Of the places.

    Returns:
        For each of the S samples its region and its bin, int64 numbers, the bins counted over all
        regions, and its place along y and x in the region's grid: a sample in the middle of the
        third bin is at 2.5.
    """
    count = rows * columns * (height * width)
    region = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
    step = torch.arange(len(region), device=rows.device) - (count.cumsum(0) - count)[region]
    rows, columns = rows[region], columns[region]
    within, step = step % (rows * columns), step // (rows * columns)
    y = step // width + ((within // columns).to(dtype) + 0.5) / rows
    x = step % width + ((within % columns).to(dtype) + 0.5) / columns
    return region, region * (height * width) + step, y, x


def bilinear_taps(y: Tensor, x: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices ``y * width + x`` and weights of the four features about each point.

    Up to one pixel outside the border is repeated, farther out the weights are 0.
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y = torch.where(inside, y, 0).clamp(0, height - 1)
    x = torch.where(inside, x, 0).clamp(0, width - 1)
    y0, x0 = y.long(), x.long()
    down, right = y - y0, x - x0
    for row, by_y in ((y0, 1 - down), ((y0 + 1).clamp(max=height - 1), down)):
        for column, by_x in ((x0, 1 - right), ((x0 + 1).clamp(max=width - 1), right)):
            yield row * width + column, torch.where(inside, by_y * by_x, 0)


def sum_of_pixels(
    features: Tensor,
    image: Tensor,
    taps: Iterator[tuple[Tensor, Tensor]],
    target: Tensor,
    count: int,
) -> Tensor:
    """Add up weighted pixels: (count, C).

    Args:
        features: (N, C, H, W); float16 and bfloat16 are added in float32.
        image: (S,) which of the N images a pixel is of.
        taps: Pairs of (S,) index ``y * W + x`` and (S,) weight.
        target: (S,) which of the ``count`` sums a pixel belongs to.
    """
    pixels = in_float32(features).permute(0, 2, 3, 1).flatten(0, 2)
    sums = pixels.new_zeros(count, features.shape[1])
    start = image * (features.shape[2] * features.shape[3])
    for index, weight in taps:
        values = pixels.index_select(0, start + index) * weight[:, None]
        sums = sums.index_add(0, target, values)
    return sums
