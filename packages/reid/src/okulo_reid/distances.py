"""Distances between query and gallery embeddings."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["cosine_distances", "squared_euclidean_distances"]


def squared_euclidean_distances(queries: Tensor, gallery: Tensor) -> Tensor:
    """``|q - g|^2`` of every pair: squared, as fast-reid's metric ``euclidean`` is.

    Args:
        queries: (Q, D) floating point.
        gallery: (G, D) of the same dtype.

    Returns:
        (Q, G), never below 0, though rounding of ``|q|^2 + |g|^2 - 2 qg`` alone could be.
    """
    _check(queries, gallery)
    norms = queries.square().sum(1, keepdim=True) + gallery.square().sum(1)
    return (norms - 2 * queries @ gallery.T).clamp(min=0)


def cosine_distances(queries: Tensor, gallery: Tensor) -> Tensor:
    """``1 - cos(q, g)`` of every pair, in [0, 2].

    Args:
        queries: (Q, D) floating point; need not be normalised.
        gallery: (G, D) of the same dtype.

    Returns:
        (Q, G).
    """
    _check(queries, gallery)
    return 1 - F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T


def _check(queries: Tensor, gallery: Tensor) -> None:
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "queries and gallery must have shapes (Q, D) and (G, D), got "
            f"{tuple(queries.shape)} and {tuple(gallery.shape)}"
        )
