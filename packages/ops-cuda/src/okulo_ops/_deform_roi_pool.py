"""ROIAlign with bins that move (https://arxiv.org/abs/1703.06211, section 2.2)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_same_device, in_float32
from okulo_ops._operator import define
from okulo_ops._roi_sampling import accumulate_rois
from okulo_ops._sampling import (
    bilinear_taps,
    check_features,
    check_rois,
    every_sample,
    height_and_width,
    sum_of_pixels,
)

__all__ = ["DeformRoIPool", "DeformRoIPoolPack", "ModulatedDeformRoIPoolPack", "deform_roi_pool"]


def deform_roi_pool(
    input: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """Pool boxes as :func:`okulo_ops.roi_align` with ``aligned``, each bin moved by an offset.

    Args:
        input: (N, C, H, W) floating.
        rois: (K, 5) rows (index into the batch, x0, y0, x1, y1) in pixels of the image.
        offset: (K, 2, height, width), how far bins move along x and y, in units of ``gamma`` times
            the width and height of the box; or None.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        sampling_ratio: Samples for a bin and axis; 0 or less takes ceil(box size / bins): a box
            without extent then has none and is pooled to zero.
        gamma: Scale of the offsets; 0.1 is the paper's.

    Returns:
        (K, C, height, width), dtype of ``input``; float16 and bfloat16 are computed in float32. The
        gradient flows to ``input`` and ``offset``.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch (checked
            on the CPU; a GPU would have to wait for it, such a box is zero there).
    """
    check_features("input", input)
    check_rois(input, rois, columns=5)
    height, width = height_and_width(output_size)
    if offset is not None:
        if offset.shape != (len(rois), 2, height, width) or not offset.is_floating_point():
            raise ValueError(
                f"offset must be floating of shape {(len(rois), 2, height, width)}, "
                f"got {offset.dtype} of shape {tuple(offset.shape)}"
            )
        check_same_device(input=input, offset=offset)
    rois = accumulate_rois(rois, input)
    settings = height, width, spatial_scale, sampling_ratio, gamma
    return _operator(input, rois, offset, *settings)  # type: ignore[no-any-return]


class DeformRoIPool(nn.Module):
    """:func:`deform_roi_pool` with its settings."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = height_and_width(output_size)
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.gamma = float(gamma)

    def forward(self, input: Tensor, rois: Tensor, offset: Tensor | None = None) -> Tensor:
        return deform_roi_pool(
            input,
            rois,
            offset,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.gamma,
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, gamma={self.gamma}"
        )


class DeformRoIPoolPack(DeformRoIPool):
    """Offsets are predicted from what the box holds when no bin is moved; they start at zero.

    Args:
        output_size, spatial_scale, sampling_ratio, gamma: As for :func:`deform_roi_pool`.
        output_channels: C of the input.
        deform_fc_channels: Width of the three layers that predict.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(output_size, spatial_scale, sampling_ratio, gamma)
        self.output_channels = output_channels
        self.deform_fc_channels = deform_fc_channels
        height, width = self.output_size
        inputs = height * width * output_channels
        widths = [inputs, deform_fc_channels, deform_fc_channels]
        self.offset_fc = _perceptron(widths, height * width * 2)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]
        pooled = self._pool_still(input, rois)
        return super().forward(input, rois, self._offset(pooled))

    def _pool_still(self, input: Tensor, rois: Tensor) -> Tensor:
        if input.ndim != 4 or input.shape[1] != self.output_channels:
            raise ValueError(
                f"input must have {self.output_channels} channels, got shape {tuple(input.shape)}"
            )
        return super().forward(input, rois)

    def _offset(self, pooled: Tensor) -> Tensor:
        flat: Tensor = self.offset_fc(pooled.flatten(1))
        return flat.unflatten(1, (2, *self.output_size))


class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """Bins are also weighed by a predicted mask (https://arxiv.org/abs/1811.11168); it starts at
    one half."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(
            output_size, output_channels, deform_fc_channels, spatial_scale, sampling_ratio, gamma
        )
        height, width = self.output_size
        inputs = height * width * output_channels
        self.mask_fc = _perceptron([inputs, deform_fc_channels], height * width)
        self.mask_fc.append(nn.Sigmoid())

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]
        pooled = self._pool_still(input, rois)
        mask = self.mask_fc(pooled.flatten(1)).unflatten(1, (1, *self.output_size))
        moved = DeformRoIPool.forward(self, input, rois, self._offset(pooled))
        return moved * mask  # type: ignore[no-any-return]


def _perceptron(widths: list[int], outputs: int) -> nn.Sequential:
    """Layers with ReLU between them, the last one zero."""
    layers: list[nn.Module] = []
    for inputs, width in pairwise(widths):
        layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
    last = nn.Linear(widths[-1], outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def _meaning(
    input: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    height: int,
    width: int,
    scale: float,
    ratio: int,
    gamma: float,
) -> Tensor:
    rois = accumulate_rois(rois, input)
    image = rois[:, 0].long()
    known = (image >= 0) & (image < len(input))
    start = rois[:, 1:3] * scale - 0.5
    size = (rois[:, 3:] - rois[:, 1:3]) * scale
    bins = size / size.new_tensor([width, height])
    samples = torch.full_like(bins, ratio) if ratio > 0 else bins.ceil()
    columns, rows = (samples.long().clamp(min=0) * known[:, None]).unbind(1)
    region, target, y, x = every_sample(height, width, rows, columns, rois.dtype)
    place = start[region] + torch.stack((x, y), dim=1) * bins[region]
    if offset is not None:
        moves = gamma * size[:, :, None] * in_float32(offset).flatten(2)  # (K, 2, bins)
        place = place + moves.transpose(1, 2).flatten(0, 1)[target]
    taps = bilinear_taps(place[:, 1], place[:, 0], *input.shape[2:])
    sums = sum_of_pixels(input, image[region], taps, target, len(rois) * height * width)
    means = sums.unflatten(0, (-1, height * width)) / (rows * columns).clamp(min=1)[:, None, None]
    return means.transpose(1, 2).unflatten(2, (height, width)).to(input.dtype)


_operator = define(
    "deform_roi_pool(Tensor input, Tensor rois, Tensor? offset, int height, int width,"
    " float spatial_scale, int sampling_ratio, float gamma) -> Tensor",
    _meaning,
    lambda input, rois, _, height, width, *__: input.new_empty(
        rois.shape[0], input.shape[1], height, width
    ),
    gradient=["input", "offset"],
)
