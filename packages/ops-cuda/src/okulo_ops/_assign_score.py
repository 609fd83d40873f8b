"""Kernels assembled from a bank by scores of each neighbour (PAConv,
https://arxiv.org/abs/2103.14635, section 3.1)."""

import torch
from torch import Tensor

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["assign_score_withk"]


def assign_score_withk(
    scores: Tensor,
    point_features: Tensor,
    center_features: Tensor,
    knn_idx: Tensor,
    aggregate: str = "sum",
) -> Tensor:
    """Sum over a bank of M: score * (feature of the neighbour - feature of the centre).

    Args:
        scores: (B, P, K, M) floating, of the K neighbours of each of P centres.
        point_features, center_features: (B, N, M, O) of all points, after the bank.
        knn_idx: (B, P, K) integer, from 0 to N - 1; the first neighbour is the centre itself.
        aggregate: Only "sum".

    Returns:
        (B, O, P, K), dtype of ``point_features``; differentiable by the three floating inputs.
    """
    check_floating("scores", scores, ("B", "P", "K", "M"))
    check_floating("point_features", point_features, ("B", "N", scores.shape[3], "O"))
    check_floating("center_features", center_features, tuple(point_features.shape))
    if aggregate != "sum":
        raise ValueError(f'aggregate must be "sum", got {aggregate!r}')
    if knn_idx.shape != scores.shape[:3] or knn_idx.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"knn_idx must be int32 or int64 of shape {tuple(scores.shape[:3])}, got "
            f"{knn_idx.dtype} of shape {tuple(knn_idx.shape)}"
        )
    check_same_device(scores=scores, point_features=point_features, knn_idx=knn_idx)
    dtype = point_features.dtype
    out: Tensor = _assign(
        scores.to(dtype), point_features, center_features.to(dtype), knn_idx.long()
    )
    return out


def _meaning(scores: Tensor, points: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    near = torch.stack([p[i] for p, i in zip(in_float32(points), index, strict=True)])
    own = torch.stack([c[i[:, :1]] for c, i in zip(in_float32(centers), index, strict=True)])
    out = torch.einsum("bpkm,bpkmo->bopk", in_float32(scores), near - own)
    return out.to(points.dtype)


_assign = define(
    "assign_score_withk(Tensor scores, Tensor points, Tensor centers, Tensor index) -> Tensor",
    _meaning,
    lambda scores, points, centers, index: points.new_empty(
        (scores.shape[0], points.shape[3], *scores.shape[1:3])
    ),
    gradient=["scores", "points", "centers"],
)
