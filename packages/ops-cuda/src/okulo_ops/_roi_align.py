"""ROIAlign: bilinear pooling of boxes (https://arxiv.org/abs/1703.06870, section 3)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from okulo_ops._checks import check_boxes, check_floating, check_same_device, in_float32
from okulo_ops._operator import define
from okulo_ops._roi_align_max import align_max
from okulo_ops._roi_sampling import accumulate_rois, sample_axis
from okulo_ops._sampling import height_and_width
from okulo_ops._torchvision import torchvision_ops

__all__ = ["roi_align", "roi_align_levels", "assign_levels", "ROIAlign", "RoIAlign"]


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    pool_mode: Literal["avg", "max"] = "avg",
) -> Tensor:
    """Pool each box of a feature map into a grid of fixed size.

    Every bin is the mean, or the maximum, of bilinear samples; the feature at index i stands at
    i + 0.5. Samples up to one cell outside the map read its border, farther out they are zero.

    Args:
        input: (N, C, H, W) floating.
        boxes: (K, 5) rows (index into the batch, x0, y0, x1, y1) in pixels of the image, or one
            (L, 4) tensor for each of the N images. They are kept in float32 for features in half
            precision.
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        sampling_ratio: Samples for a bin and axis; 0 or less takes ceil(box size / bins): a box
            without extent then has none and is pooled to zero.
        aligned: True subtracts the half cell between the two frames. False is the older rule,
            shifted by half a cell, with boxes enlarged to at least 1 x 1 cells.
        pool_mode: Mean or maximum of the samples of a bin.

    Returns:
        (K, C, height, width), dtype of ``input``; float16 and bfloat16 are computed in float32. The
        gradient flows to ``input`` only.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch (checked
            on the CPU; a GPU would have to wait for it).
    """
    check_floating("input", input, ("N", "C", "H", "W"))
    rois = _as_rows(boxes, input)
    check_image_index(rois, len(input))
    if pool_mode not in ("avg", "max"):
        raise ValueError(f'pool_mode must be "avg" or "max", got {pool_mode!r}')
    height, width = height_and_width(output_size)
    settings = spatial_scale, height, width, sampling_ratio, aligned
    rois = accumulate_rois(rois, input)
    if pool_mode == "max":
        return align_max(input, rois, *settings)
    if (theirs := torchvision_ops(input, rois)) is not None:
        size = height, width
        return theirs.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned)  # type: ignore[no-any-return]
    return _align(input, rois, *settings)  # type: ignore[no-any-return]


def roi_align_levels(
    features: Sequence[Tensor],
    boxes: Tensor | Sequence[Tensor],
    levels: Tensor,
    output_size: int | tuple[int, int],
    scales: Sequence[float],
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Pool each box from one level of a feature pyramid, all levels in one call.

    Args:
        features: One (N, C, H, W) map for each level, floating, of one dtype.
        boxes: As for :func:`roi_align`.
        levels: (K,) int64 index into ``features`` for each box, see :func:`assign_levels`.
        output_size: Bins, as (height, width) or one number for both.
        scales: Cells for a pixel of the image, for each level.
        sampling_ratio: As for :func:`roi_align`.
        aligned: As for :func:`roi_align`.

    Returns:
        (K, C, height, width) in the order of the boxes, dtype of the maps. The gradient flows to
        ``features`` only.

    Raises:
        ValueError: As for :func:`roi_align`; or the levels disagree in images, channels or dtype;
            or there is not one scale for each.
    """
    _check_levels(features, scales)
    rois = _as_rows(boxes, features[0])
    check_image_index(rois, len(features[0]))
    if levels.dtype != torch.int64 or levels.shape != rois.shape[:1]:
        raise ValueError(
            f"levels must be int64 of shape ({len(rois)},), one for each box, "
            f"got {levels.dtype} of shape {tuple(levels.shape)}"
        )
    height, width = height_and_width(output_size)
    rois = accumulate_rois(rois, features[0])
    settings = height, width, sampling_ratio, aligned
    return _align_levels(  # type: ignore[no-any-return]
        list(features), rois, levels, [float(scale) for scale in scales], *settings
    )


def assign_levels(
    boxes: Tensor,
    min_level: int,
    max_level: int,
    canonical_box_size: float = 224,
    canonical_level: int = 4,
) -> Tensor:
    """Choose the pyramid level of every box (https://arxiv.org/abs/1612.03144, Eq. 1).

    Args:
        boxes: (K, 4) x0, y0, x1, y1 in input pixels, floating.
        min_level: Level k has stride 2**k; the finest there is.
        max_level: The coarsest there is.
        canonical_box_size: A square box with this side, in pixels, belongs to ...
        canonical_level: ... this level; half the side to the one below.

    Returns:
        (K,) int64, counted from ``min_level``; 0 for boxes turned inside out.
    """
    check_boxes("boxes", boxes)
    x0, y0, x1, y1 = in_float32(boxes).unbind(dim=1)
    sides = ((x1 - x0) * (y1 - y0)).sqrt()
    # The small number moves a box at the exact border, where rounding would decide, up.
    levels = torch.floor(canonical_level + torch.log2(sides / canonical_box_size + 1e-8))
    levels = levels.nan_to_num(nan=min_level).clamp(min_level, max_level)
    return levels.to(torch.int64) - min_level


class ROIAlign(nn.Module):
    """:func:`roi_align` with its settings; here ``aligned`` is True unless said otherwise."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``rois``, (K, 5) as in :func:`roi_align`; a quantised ``input`` is dequantised."""
        if input.is_quantized:
            input = input.dequantize()
        check_boxes("rois", rois, columns=5)
        return roi_align(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )


RoIAlign = ROIAlign


def check_image_index(rois: Tensor, images: int) -> None:
    """Refuse boxes of images outside the batch, where looking costs nothing."""
    if rois.device.type != "cpu" or torch.compiler.is_compiling() or len(rois) == 0:
        return
    low, high = rois[:, 0].aminmax()
    if not (low >= 0 and high < images):
        raise ValueError(
            f"column 0 of boxes must index one of the {images} images, "
            f"got values from {low.item():g} to {high.item():g}"
        )


def _as_rows(boxes: Tensor | Sequence[Tensor], input: Tensor) -> Tensor:
    rois = boxes if isinstance(boxes, Tensor) else _with_image_index(boxes, input)
    check_boxes("boxes", rois, columns=5)
    check_same_device(input=input, boxes=rois)
    return rois


def _with_image_index(boxes: Sequence[Tensor], input: Tensor) -> Tensor:
    if len(boxes) != len(input):
        raise ValueError(
            f"boxes must hold one (L, 4) tensor for each of the {len(input)} images, "
            f"got {len(boxes)}"
        )
    for index, each in enumerate(boxes):
        check_boxes(f"boxes[{index}]", each)
    if len(boxes) == 0:
        return input.new_zeros(0, 5)
    rows = [torch.cat((torch.full_like(b[:, :1], i), b), dim=1) for i, b in enumerate(boxes)]
    return torch.cat(rows)


def _check_levels(features: Sequence[Tensor], scales: Sequence[float]) -> None:
    if len(features) == 0 or len(scales) != len(features):
        raise ValueError(
            "features and scales must have one entry for each level, at least one, "
            f"got {len(features)} and {len(scales)}"
        )
    for index, feature in enumerate(features):
        check_floating(f"features[{index}]", feature, ("N", "C", "H", "W"))
        same = feature.shape[:2] == features[0].shape[:2] and feature.dtype == features[0].dtype
        if not same:
            raise ValueError(
                "features must agree in images, channels and dtype, got "
                f"{tuple(features[0].shape)} {features[0].dtype} and "
                f"{tuple(feature.shape)} {feature.dtype}"
            )


def _levels_meaning(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    height: int,
    width: int,
    ratio: int,
    aligned: bool,
) -> Tensor:
    rois = accumulate_rois(rois, features[0])
    pooled = rois.new_zeros(len(rois), features[0].shape[1], height, width)
    rows, parts = [], []
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        for image in range(len(feature)):
            mine = (levels == level) & (rois[:, 0].long() == image)
            for row in mine.nonzero()[:, 0].split(64):  # bounds the memory
                rows.append(row)
                settings = scale, height, width, ratio, aligned
                parts.append(_pool_map(in_float32(feature[image]), rois[row], *settings))
    if rows:
        pooled = pooled.index_copy(0, torch.cat(rows), torch.cat(parts))
    return pooled.to(features[0].dtype)


def _pool_map(
    feature: Tensor,
    rois: Tensor,
    scale: float,
    height: int,
    width: int,
    ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool boxes of one (C, H, W) map: samples lie on a grid, so the mean is a sum by each axis."""
    rows, columns = feature.shape[1:]
    y = sample_axis(rois[:, 2], rois[:, 4], scale, height, ratio, aligned, rows)
    x = sample_axis(rois[:, 1], rois[:, 3], scale, width, ratio, aligned, columns)
    lines = torch.einsum("kiy,cyx->kicx", y.mean_weights(rows), feature)
    return torch.einsum("kicx,kjx->kcij", lines, x.mean_weights(columns))


def _meaning(
    input: Tensor,
    rois: Tensor,
    scale: float,
    height: int,
    width: int,
    ratio: int,
    aligned: bool,
) -> Tensor:
    levels = torch.zeros(len(rois), dtype=torch.int64, device=rois.device)
    return _levels_meaning([input], rois, levels, [scale], height, width, ratio, aligned)


_align = define(
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int height, int width,"
    " int sampling_ratio, bool aligned) -> Tensor",
    _meaning,
    lambda input, rois, _, height, width, *__: input.new_empty(
        rois.shape[0], input.shape[1], height, width
    ),
    gradient=["input"],
)

_align_levels = define(
    "roi_align_levels(Tensor[] features, Tensor rois, Tensor levels, float[] scales, int height,"
    " int width, int sampling_ratio, bool aligned) -> Tensor",
    _levels_meaning,
    lambda features, rois, _, __, height, width, *___: features[0].new_empty(
        rois.shape[0], features[0].shape[1], height, width
    ),
    gradient=["features"],
)
