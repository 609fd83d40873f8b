"""Where the samples of a box stand, one axis at a time: what ROIAlign and its kin mean.

K boxes, each with B bins along the axis and S places for the samples of a bin, on a map of L cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["AxisSamples", "accumulate_rois", "sample_axis"]


class AxisSamples(NamedTuple):
    position: Tensor
    """(K, B, S) in cells: the cell at index i stands at i; set to the border up to a cell out."""
    inside: Tensor
    """(K, B, S) bool: this sample exists and reads the map; the others count as zero."""
    number: Tensor
    """(K, B, S) int64, of the sample in its bin."""
    total: Tensor
    """(K,) int64 samples in a bin, whether they read the map or not."""

    def taps(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two cells for each sample, int64, and the weight of each."""
        low = self.position.long()
        high_weight = self.position - low
        return low, low + (high_weight > 0), 1 - high_weight, high_weight

    def mean_weights(self, cells: int) -> Tensor:
        """(K, B, L): the mean of the samples of a bin as weights of all cells."""
        distance = self.position[..., None] - torch.arange(cells, device=self.position.device)
        weights = (1 - distance.abs()).clamp(min=0) * self.inside[..., None]
        return weights.sum(dim=2) / self.total.clamp(min=1)[:, None, None]


def sample_axis(
    low: Tensor, high: Tensor, scale: float, bins: int, ratio: int, aligned: bool, cells: int
) -> AxisSamples:
    """Place the samples of boxes from ``low`` to ``high``, (K,) each, along one axis.

    Kernels take the same steps in the same order, see csrc/common/roi_align.h.
    """
    shift = 0.5 if aligned else 0.0
    start = low * scale - shift
    size = high * scale - shift - start
    if not aligned:
        size = torch.where(size >= 1, size, 1)
    bin_size = (size / bins)[:, None, None]
    i = torch.arange(bins, device=low.device)[:, None]
    begin = start[:, None, None] + i * bin_size
    if ratio > 0:
        count = torch.full_like(bin_size, ratio, dtype=torch.int64)
        number = torch.arange(ratio, device=low.device).expand(*begin.shape[:2], -1)
    else:
        count = bin_size.ceil().clamp(0, 2**30).long().clamp(min=0)  # NaN becomes 0
        # Of a box far larger than the map only the samples near the map are looked at.
        outside = ((-1 - begin) / (bin_size / count) - 0.5).floor() - 1
        first = outside.clamp(0, 2**30).long().clamp(min=0)
        most = min(2 * cells + 8, int(count.max()) if len(count) else 0)
        number = first + torch.arange(most, device=low.device)
    position = begin + (number + 0.5) * bin_size / count
    inside = (position >= -1) & (position <= cells) & (number < count)
    position = torch.where(inside, position, 0).clamp(0, max(cells - 1, 0))
    return AxisSamples(position, inside, number, count[:, 0, 0])


def accumulate_rois(rois: Tensor, input: Tensor) -> Tensor:
    """Boxes in the type they are computed in: float64 for float64 features, else float32."""
    return rois.to(torch.float64 if input.dtype == torch.float64 else torch.float32)
