"""BezierAlign: pooling between two curves (https://arxiv.org/abs/2002.10200, section 2.2)."""

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

__all__ = ["bezier_align", "BezierAlign"]


def bezier_align(
    input: Tensor,
    beziers: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Pool the strip between two cubic Bezier curves, such as a line of curved text.

    The bin in row i and column j of height x width stands at parameter j / width of both curves and
    i / height of the way from the first to the second. It is the mean of bilinear samples of an
    upright box about that point. The box is as wide, and as high, as the two ends of a curve are
    apart, the larger of both curves, over the bins: two level curves give it no height.

    Args:
        input: (N, C, H, W) floating.
        beziers: (K, 17) floating rows: index into the batch, then eight points (x, y) in pixels of
            the image, clockwise: the upper curve from left to right, the lower from right to left.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        sampling_ratio: Samples for a bin and axis; 0 or less takes ceil(size of the bin's box),
            none where it has no size.
        aligned: Subtract the half pixel between the image's frame and the features. Without it
            strips are enlarged to at least 1 x 1 cells.

    Returns:
        (K, C, height, width), dtype of ``input``; float16 and bfloat16 are computed in float32. The
        gradient flows to ``input`` only.

    Raises:
        ValueError: Shapes differ from the above, or a curve names an image outside the batch or is
            not finite (checked on the CPU; a GPU would have to wait for it).
    """
    check_features("input", input)
    check_rois(input, beziers, columns=17, name="beziers", finite=slice(1, 17))
    size = height_and_width(output_size)
    curves = beziers.to(computed_in(input))
    return _operator(input, curves, *size, spatial_scale, sampling_ratio, aligned)  # type: ignore[no-any-return]


class BezierAlign(nn.Module):
    """:func:`bezier_align` with its settings."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int = 0,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.output_size = height_and_width(output_size)
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: Tensor, beziers: Tensor) -> Tensor:
        return bezier_align(
            input,
            beziers,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )


def _meaning(
    input: Tensor,
    beziers: Tensor,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    points = beziers[:, 1:].to(computed_in(input)).unflatten(1, (8, 2)) * spatial_scale
    upper, lower = points[:, :4], points[:, 4:].flip(1)
    ends = torch.stack((upper[:, 0] - upper[:, 3], lower[:, 0] - lower[:, 3]), dim=1)
    size = ends.abs().amax(dim=1)
    shift, size = (0.5, size) if aligned else (0.0, size.clamp(min=1))
    bins = size / size.new_tensor([width, height])
    columns, rows = samples_along(bins, sampling_ratio).unbind(1)
    region, target, y, x = every_sample(height, width, rows, columns, points.dtype)
    i, j = target // width % height, target % width
    along, across = j[:, None].to(points) / width, i[:, None].to(points) / height
    middle = _on_curve(upper[region], along) * (1 - across)
    middle = middle + _on_curve(lower[region], along) * across - shift
    x = middle[:, 0] + (x - j - 0.5) * bins[region, 0]
    y = middle[:, 1] + (y - i - 0.5) * bins[region, 1]
    image = beziers[:, 0].long()[region]
    taps = bilinear_taps(y, x, *input.shape[2:])
    sums = sum_of_pixels(input, image, taps, target, len(beziers) * height * width)
    means = sums.unflatten(0, (len(beziers), height * width))
    means = means / (rows * columns).clamp(min=1)[:, None, None]
    return means.transpose(1, 2).unflatten(2, (height, width)).to(input.dtype)


def _on_curve(points: Tensor, along: Tensor) -> Tensor:
    """Points (S, 2) of cubic curves (S, 4, 2) at parameters (S, 1)."""
    p0, p1, p2, p3 = points.unbind(1)
    rest = 1 - along
    return rest**3 * p0 + 3 * along * rest**2 * p1 + 3 * along**2 * rest * p2 + along**3 * p3


_operator = define(
    "bezier_align(Tensor input, Tensor beziers, int height, int width, float spatial_scale,"
    " int sampling_ratio, bool aligned) -> Tensor",
    _meaning,
    lambda input, beziers, height, width, *_: input.new_empty(
        beziers.shape[0], input.shape[1], height, width
    ),
    gradient=["input"],
)
