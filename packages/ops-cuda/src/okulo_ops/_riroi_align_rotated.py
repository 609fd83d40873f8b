"""Rotation-invariant ROIAlign (https://arxiv.org/abs/2103.07733, section 3.3)."""

import torch
from torch import Tensor, nn

from okulo_ops._checks import in_float32
from okulo_ops._roi_align_rotated import pool_rotated

__all__ = ["riroi_align_rotated", "RiRoIAlignRotated"]


def riroi_align_rotated(
    features: Tensor,
    rois: Tensor,
    out_size: int | tuple[int, int],
    spatial_scale: float,
    num_samples: int = 0,
    num_orientations: int = 8,
    clockwise: bool = False,
) -> Tensor:
    """Pool rotated boxes of features that have a channel for each orientation.

    Space is turned as by :func:`okulo_ops.mmcv.roi_align_rotated` with ``aligned=False``, then the
    orientation channels are cyclically shifted by the angle, between two of them linearly.

    Args:
        features: (N, C * ``num_orientations``, H, W) floating, orientations innermost.
        rois: (K, 6) floating rows (index into the batch, cx, cy, w, h, angle), in pixels of the
            image and radians; sizes of 0 or more.
        out_size: Bins, as (height, width) or one number for both.
        spatial_scale: Cells of the feature map for a pixel of the image.
        num_samples: Samples for a bin and axis; 0 or less takes ceil(box size / bins).
        num_orientations: How many orientations a full turn is divided into.
        clockwise: Whether positive angles turn clockwise on the screen.

    Returns:
        (K, C * ``num_orientations``, height, width), dtype of ``features``. The gradient flows to
        ``features`` only.

    Raises:
        ValueError: Shapes differ from the above, or a box names an image outside the batch or has a
            negative size (checked on the CPU; a GPU would have to wait for it).
    """
    unit = -1.0 if clockwise else 1.0
    pooled = pool_rotated(features, rois, unit, out_size, spatial_scale, num_samples, aligned=False)
    if num_orientations < 1 or features.shape[1] % num_orientations:
        raise ValueError(
            f"the channels of features must divide into {num_orientations} orientations, "
            f"got {features.shape[1]} channels"
        )
    turned = in_float32(rois.detach()[:, 5]) * (unit * num_orientations / (2 * torch.pi))
    return _shifted(pooled, turned, num_orientations)


class RiRoIAlignRotated(nn.Module):
    """:func:`riroi_align_rotated` with its settings."""

    def __init__(
        self,
        out_size: int | tuple[int, int],
        spatial_scale: float,
        num_samples: int = 0,
        num_orientations: int = 8,
        clockwise: bool = False,
    ) -> None:
        super().__init__()
        self.out_size = out_size
        self.spatial_scale = spatial_scale
        self.num_samples = num_samples
        self.num_orientations = num_orientations
        self.clockwise = clockwise

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        return riroi_align_rotated(
            features,
            rois,
            self.out_size,
            self.spatial_scale,
            self.num_samples,
            self.num_orientations,
            self.clockwise,
        )

    def extra_repr(self) -> str:
        return (
            f"out_size={self.out_size}, spatial_scale={self.spatial_scale}, "
            f"num_samples={self.num_samples}, num_orientations={self.num_orientations}, "
            f"clockwise={self.clockwise}"
        )


def _shifted(pooled: Tensor, turned: Tensor, orientations: int) -> Tensor:
    """Orientation o of box k becomes a mean of o - floor(turned[k]) and its successor."""
    channels = in_float32(pooled).unflatten(1, (-1, orientations))
    first = torch.arange(orientations, device=pooled.device) - turned.floor().long()[:, None]
    share = (turned - turned.floor()).to(channels.dtype)[:, None, None, None, None]

    def taken(source: Tensor) -> Tensor:
        index = source[:, None, :, None, None].remainder(orientations)
        return channels.gather(2, index.expand_as(channels))

    return torch.lerp(taken(first), taken(first + 1), share).flatten(1, 2).to(pooled.dtype)
