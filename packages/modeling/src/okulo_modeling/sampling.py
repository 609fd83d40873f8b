"""Random choice of examples for a loss."""

import torch
from torch import Tensor

__all__ = ["subsample_labels"]


def subsample_labels(
    labels: Tensor, num_samples: int, positive_fraction: float, bg_label: int
) -> tuple[Tensor, Tensor]:
    """Draw positives and negatives without replacement, with PyTorch's default generator.

    Args:
        labels: (N,) integers; -1 is never drawn, ``bg_label`` is negative, all others are positive.
        num_samples: At most this many in all.
        positive_fraction: At most ``int(num_samples * positive_fraction)`` positives; negatives
            fill what these leave.
        bg_label: The label of background.

    Returns:
        Indices of the positives and of the negatives, int64, in random order.
    """
    positive = ((labels != -1) & (labels != bg_label)).nonzero()[:, 0]
    negative = (labels == bg_label).nonzero()[:, 0]
    num_positive = min(len(positive), int(num_samples * positive_fraction))
    num_negative = min(len(negative), num_samples - num_positive)
    return _draw(positive, num_positive), _draw(negative, num_negative)


def _draw(indices: Tensor, count: int) -> Tensor:
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]
