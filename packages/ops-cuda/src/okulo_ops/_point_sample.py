"""Features at points, as PointRend takes them (https://arxiv.org/abs/1912.08193, section 3.1).

A point is absolute, in pixels of the image, or relative: (0, 0) is the top-left corner of what it
is relative to, an image or a box, and (1, 1) the bottom-right one; x before y.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._sampling import (
    check_features,
    check_rois,
    computed_in,
    height_and_width,
    sum_of_pixels,
)

__all__ = [
    "SimpleRoIAlign",
    "abs_img_point_to_rel_img_point",
    "point_sample",
    "rel_roi_point_to_abs_img_point",
    "rel_roi_point_to_rel_img_point",
]


def point_sample(
    input: Tensor, points: Tensor, align_corners: bool = False, **kwargs: Any
) -> Tensor:
    """Bilinear samples of a feature map; outside the map it is 0.

    Args:
        input: (N, C, H, W) floating.
        points: (N, P, 2) or (N, Hgrid, Wgrid, 2) floating, relative to the map.
        align_corners: Whether (0, 0) and (1, 1) are the centres of the corner features instead of
            the corners of the map.
        **kwargs: Further settings of :func:`torch.nn.functional.grid_sample`, such as
            ``mode="nearest"`` or ``padding_mode="border"``.

    Returns:
        (N, C, P) or (N, C, Hgrid, Wgrid), dtype of ``input``; float16 and bfloat16 are computed in
        float32.
    """
    check_features("input", input)
    if points.ndim not in (3, 4) or points.shape[0] != len(input) or points.shape[-1] != 2:
        raise ValueError(
            f"points must have shape ({len(input)}, P, 2) or ({len(input)}, Hgrid, Wgrid, 2), "
            f"got {tuple(points.shape)}"
        )
    features = in_float32(input)
    grid = 2 * points.to(features.dtype) - 1
    grid = grid[:, :, None] if points.ndim == 3 else grid
    output = F.grid_sample(features, grid, align_corners=align_corners, **kwargs)
    output = output.squeeze(3) if points.ndim == 3 else output
    return output.to(input.dtype)


def rel_roi_point_to_abs_img_point(rois: Tensor, rel_roi_points: Tensor) -> Tensor:
    """Turn points relative to their box into absolute ones.

    Args:
        rois: (K, 4) boxes (x0, y0, x1, y1), or (K, 5) with the index of the image before them.
        rel_roi_points: (K, P, 2) floating.

    Returns:
        (K, P, 2) in pixels of the image, the dtype both promote to. No gradient flows to ``rois``.
    """
    if rois.ndim != 2 or rois.shape[1] not in (4, 5):
        raise ValueError(f"rois must have shape (K, 4) or (K, 5), got {tuple(rois.shape)}")
    check_floating("rel_roi_points", rel_roi_points, (len(rois), "P", 2))
    check_same_device(rois=rois, rel_roi_points=rel_roi_points)
    boxes = rois.detach()[:, None, -4:]
    return boxes[..., :2] + rel_roi_points * (boxes[..., 2:] - boxes[..., :2])


def abs_img_point_to_rel_img_point(
    abs_img_points: Tensor, img: tuple[int, int] | Tensor, spatial_scale: float = 1.0
) -> Tensor:
    """Turn absolute points into ones relative to the image.

    Args:
        abs_img_points: (K, P, 2) floating, pixels.
        img: (height, width) of the image, or a (N, C, H, W) tensor of that size.
        spatial_scale: Factor from the pixels of the points to those of ``img``.

    Returns:
        (K, P, 2).
    """
    check_floating("abs_img_points", abs_img_points, ("K", "P", 2))
    height, width = img.shape[2:] if isinstance(img, Tensor) else img
    return abs_img_points * spatial_scale / abs_img_points.new_tensor([width, height])


def rel_roi_point_to_rel_img_point(
    rois: Tensor,
    rel_roi_points: Tensor,
    img: tuple[int, int] | Tensor,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Turn points relative to their box into ones relative to the image.

    :func:`rel_roi_point_to_abs_img_point`, then :func:`abs_img_point_to_rel_img_point`.
    """
    points = rel_roi_point_to_abs_img_point(rois, rel_roi_points)
    return abs_img_point_to_rel_img_point(points, img, spatial_scale)


class SimpleRoIAlign(nn.Module):
    """Pool boxes by one bilinear sample in the middle of each bin.

    Args:
        output_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        aligned: False takes the map's corners for the centres of its corner features.
    """

    def __init__(
        self, output_size: int | tuple[int, int], spatial_scale: float, aligned: bool = True
    ) -> None:
        super().__init__()
        self.output_size = height_and_width(output_size)
        self.spatial_scale = spatial_scale
        self.aligned = aligned

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Pool ``rois``, in any order.

        Args:
            features: (N, C, H, W) floating.
            rois: (K, 5) rows (index into the batch, x0, y0, x1, y1) in pixels of the image.

        Returns:
            (K, C, height, width), dtype of ``features``. The gradient flows to them only.
        """
        check_features("features", features)
        check_rois(features, rois, columns=5)
        rois = rois.to(computed_in(features))
        height, width = self.output_size
        points = rel_roi_point_to_rel_img_point(
            rois, _centers(rois, height, width), features, self.spatial_scale
        )
        shape = points.new_tensor([features.shape[3], features.shape[2]])
        at = points * shape - 0.5 if self.aligned else points * (shape - 1)
        image = rois[:, 0].long().repeat_interleave(height * width)
        taps = _taps(at.flatten(0, 1), features)
        every = torch.arange(len(image), device=rois.device)
        pooled = sum_of_pixels(features, image, taps, every, len(every))
        pooled = pooled.unflatten(0, (len(rois), height, width))
        return pooled.permute(0, 3, 1, 2).contiguous().to(features.dtype)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"aligned={self.aligned}"
        )


def _centers(rois: Tensor, height: int, width: int) -> Tensor:
    """Middles of the bins, relative to each box: (K, height * width, 2)."""
    y = (torch.arange(height, device=rois.device, dtype=rois.dtype) + 0.5) / height
    x = (torch.arange(width, device=rois.device, dtype=rois.dtype) + 0.5) / width
    grid = torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=2)
    return grid.reshape(1, height * width, 2).expand(len(rois), -1, -1)


def _taps(points: Tensor, features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Index and weight of the four features about each point; those outside the map weigh 0."""
    height, width = features.shape[2:]
    limit = points.new_tensor([width, height])
    points = torch.where(points.abs() < 2 * limit, points, -2)  # far from any feature, NaN too
    corner = points.floor()
    share = points - corner
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            by_x = share[:, 0] if dx else 1 - share[:, 0]
            by_y = share[:, 1] if dy else 1 - share[:, 1]
            index = torch.where(inside, y * width + x, 0).long()
            yield index, torch.where(inside, by_x * by_y, 0)
