"""ROIAlign of rotated boxes (https://arxiv.org/abs/1703.01086, section 3.4; bilinear samples)."""

import torch
from torch import Tensor, nn

from okulo_ops._operator import define
from okulo_ops._sampling import (
    bilinear_taps,
    check_features,
    check_rois,
    computed_in,
    every_sample,
    height_and_width,
    samples_along,
    sum_of_pixels,
)

__all__ = ["roi_align_rotated", "ROIAlignRotated", "pool_rotated"]


def roi_align_rotated(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """Pool each rotated box of a feature map into a grid of fixed size.

    The grid turns with the box; every bin is the mean of bilinear samples. At angle 0 the result is
    that of :func:`roi_align` with ``aligned=True``. Samples up to one pixel outside the map repeat
    its border, those farther out are 0.

    Args:
        input: (N, C, H, W) floating.
        rois: (K, 6) floating rows (index into the batch, cx, cy, w, h, angle), in pixels of the
            image and degrees counter-clockwise; sizes of 0 or more.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        sampling_ratio: Samples for a bin and axis; 0 or less takes ceil(box size / bins).

    Returns:
        (K, C, height, width), dtype of ``input``; float16 and bfloat16 are computed in float32. The
        gradient flows to ``input`` only.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch or has a
            negative size (checked on the CPU; a GPU would have to wait for it).
    """
    return pool_rotated(input, rois, torch.pi / 180, output_size, spatial_scale, sampling_ratio)


class ROIAlignRotated(nn.Module):
    """:func:`roi_align_rotated` with its settings."""

    def __init__(
        self, output_size: int | tuple[int, int], spatial_scale: float, sampling_ratio: int
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return roi_align_rotated(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}"
        )


def pool_rotated(
    input: Tensor,
    rois: Tensor,
    unit: float,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool = True,
) -> Tensor:
    """Pool rotated boxes whose angle times ``unit`` is in radians, counter-clockwise.

    ``aligned`` subtracts the half pixel between boxes and features; without it boxes are enlarged
    to at least 1 x 1 cells.
    """
    check_features("input", input)
    check_rois(input, rois, columns=6, sizes=slice(3, 5))
    size = height_and_width(output_size)
    rois = rois.to(computed_in(input))
    turned = torch.cat((rois[:, :5], rois[:, 5:] * unit), dim=1)
    return _operator(input, turned, *size, spatial_scale, sampling_ratio, aligned)  # type: ignore[no-any-return]


def _meaning(
    input: Tensor,
    rois: Tensor,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    image, rois = rois[:, 0].long(), rois.to(computed_in(input))
    boxes, angle = rois[:, 1:5], rois[:, 5]
    center, size = (boxes * spatial_scale).split(2, dim=1)
    center, size = (center - 0.5, size) if aligned else (center, size.clamp(min=1))
    bins = size / size.new_tensor([width, height])
    columns, rows = samples_along(bins, sampling_ratio).unbind(1)
    region, target, y, x = every_sample(height, width, rows, columns, rois.dtype)
    xx, yy = (torch.stack((x, y), dim=1) * bins[region] - size[region] / 2).unbind(1)
    cos, sin = angle.cos()[region], angle.sin()[region]
    x = xx * cos + yy * sin + center[region, 0]
    y = yy * cos - xx * sin + center[region, 1]
    sums = sum_of_pixels(
        input,
        image[region],
        bilinear_taps(y, x, *input.shape[2:]),
        target,
        len(rois) * height * width,
    )
    means = sums.unflatten(0, (-1, height * width)) / (rows * columns).clamp(min=1)[:, None, None]
    return means.transpose(1, 2).unflatten(2, (height, width)).to(input.dtype)


_operator = define(
    "roi_align_rotated(Tensor input, Tensor rois, int height, int width, float spatial_scale,"
    " int sampling_ratio, bool aligned) -> Tensor",
    _meaning,
    lambda input, rois, height, width, *_: input.new_empty(
        rois.shape[0], input.shape[1], height, width
    ),
    gradient=["input"],
)
