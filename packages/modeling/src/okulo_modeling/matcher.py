"""Assignment of predictions (anchors, proposals) to ground truth by their quality."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Matcher"]


class Matcher:
    """Gives every prediction its best truth, and a label by how good that is.

    Faster R-CNN (https://arxiv.org/abs/1506.01497), section 3.1.2.

    Args:
        thresholds: Ascending and positive; T of them cut the qualities into T + 1 ranges.
        labels: One for each range: 1 matched, 0 background, -1 ignored. A quality equal to a
            threshold belongs to the range above it.
        allow_low_quality_matches: Also label 1 what is best for some truth, however bad it is. Its
            match stays the truth that is best for it, which may be another one.
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        labels: Sequence[int],
        allow_low_quality_matches: bool = False,
    ) -> None:
        thresholds, labels = list(thresholds), list(labels)
        if thresholds != sorted(thresholds) or (thresholds and not thresholds[0] > 0):
            raise ValueError(f"thresholds must be positive and ascending, got {thresholds}")
        if len(labels) != len(thresholds) + 1:
            raise ValueError(
                f"{len(thresholds)} thresholds need {len(thresholds) + 1} labels, got {labels}"
            )
        if not set(labels) <= {-1, 0, 1}:
            raise ValueError(f"labels must be -1 (ignored), 0 or 1, got {labels}")
        self.thresholds = [-math.inf, *thresholds, math.inf]
        self.labels = labels
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Match N predictions.

        Args:
            match_quality_matrix: (M truths, N predictions), not negative, such as IoU.

        Returns:
            (N,) int64 index of the best truth, 0 where there is none; (N,) int8 labels.
        """
        quality = match_quality_matrix
        if quality.dim() != 2:
            raise ValueError(f"qualities must be (truths, predictions), got {tuple(quality.shape)}")
        if quality.shape[0] == 0:
            matches = torch.zeros(quality.shape[1], dtype=torch.int64, device=quality.device)
            return matches, torch.full_like(matches, self.labels[0], dtype=torch.int8)
        if quality.numel() and bool(quality.min() < 0):
            raise ValueError(f"qualities must not be negative, got {quality.min().item()}")
        best, matches = quality.max(dim=0)
        labels = torch.full_like(matches, self.labels[0], dtype=torch.int8)
        for low, label in zip(self.thresholds[1:-1], self.labels[1:], strict=True):
            labels[best >= low] = label
        if self.allow_low_quality_matches and quality.numel():
            labels[(quality == quality.amax(dim=1, keepdim=True)).any(dim=0)] = 1
        return matches, labels
