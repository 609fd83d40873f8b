"""Retrieval metrics under the camera rule of Market-1501 (Zheng et al., ICCV 2015)."""

import torch
from attrs import frozen
from torch import Tensor

__all__ = ["Ranking", "evaluate_rank"]


@frozen(eq=False)
class Ranking:
    """How well galleries were ranked; V of the Q queries had something to find.

    Attributes:
        cmc: (max_rank,) share of the V queries whose first match stands at rank r + 1 or before.
        average_precision: (V,) area under each query's precision-recall steps.
        inverse_penalty: (V,) matches divided by the rank of the last one (mINP's terms; Ye et al.,
            https://arxiv.org/abs/2001.04193, Eq. 7).
        queries: (V,) which rows of the distances these are.
    """

    cmc: Tensor
    average_precision: Tensor
    inverse_penalty: Tensor
    queries: Tensor


def evaluate_rank(
    distances: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cameras: Tensor,
    gallery_cameras: Tensor,
    max_rank: int = 50,
) -> Ranking:
    """Rank the gallery for each query and score the ranking.

    A gallery image with the query's identity *and* camera is taken out. A query without any other
    match is left out of the scores. Equal distances keep the gallery's order.

    Args:
        distances: (Q, G) floating point, smaller is nearer.
        query_ids: (Q,) integers.
        gallery_ids: (G,) integers.
        query_cameras: (Q,) integers.
        gallery_cameras: (G,) integers.
        max_rank: Length of the CMC curve; beyond the end of a short gallery it stays level.

    Raises:
        ValueError: Shapes do not fit, a distance is NaN, or no query has a match.
    """
    _check(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, max_rank)
    order = distances.argsort(dim=1, stable=True)
    same_id = gallery_ids[order] == query_ids[:, None]
    kept = ~(same_id & (gallery_cameras[order] == query_cameras[:, None]))
    hit = same_id & kept
    queries = hit.any(1).nonzero().flatten()
    if not len(queries):
        raise ValueError(
            f"none of the {len(query_ids)} queries has a match under another camera in the gallery "
            f"of {len(gallery_ids)} images; check the identities and cameras of both sets"
        )
    hit, rank = hit[queries], kept[queries].cumsum(1).double()
    matches = hit.sum(1).double()
    precision = hit.cumsum(1) / rank.clamp(min=1)
    first = torch.where(hit, rank, torch.inf).amin(1)
    last = torch.where(hit, rank, 0).amax(1)
    ranks = torch.arange(1, max_rank + 1, device=distances.device)
    return Ranking(
        cmc=(first[:, None] <= ranks).double().mean(0),
        average_precision=(precision * hit).sum(1) / matches,
        inverse_penalty=matches / last,
        queries=queries,
    )


def _check(
    distances: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cameras: Tensor,
    gallery_cameras: Tensor,
    max_rank: int,
) -> None:
    expected = (len(query_ids), len(gallery_ids))
    if distances.shape != expected:
        raise ValueError(f"distances must have shape {expected}, got {tuple(distances.shape)}")
    if (len(query_cameras), len(gallery_cameras)) != expected:
        raise ValueError(
            f"one camera per image is needed: {expected}, got "
            f"{(len(query_cameras), len(gallery_cameras))}"
        )
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, got {max_rank}")
    if distances.isnan().any():
        row = int(distances.isnan().any(1).nonzero()[0])
        raise ValueError(f"distances of query {row} hold NaN; look at its embedding")
