"""Ranking and distances: rows FR-303, FR-304 (its defect mended) and FR-308 of the inventory."""

import numpy as np
import pytest
import torch

from okulo_core.testing import shared_path
from okulo_reid.distances import cosine_distances, squared_euclidean_distances
from okulo_reid.ranking import evaluate_rank

KEYS = ["q_feat", "g_feat", "q_pid", "g_pid", "q_cam", "g_cam"]
DISTANCES = {"cosine": cosine_distances, "euclidean": squared_euclidean_distances}


def slow_ranking(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, max_rank):
    """The definition in loops over float64 numbers."""
    curves, precisions, penalties = [], [], []
    for row, identity, camera in zip(distances, query_ids, query_cameras, strict=True):
        ranked = sorted(range(len(gallery_ids)), key=lambda j: row[j])
        kept = [j for j in ranked if (gallery_ids[j], gallery_cameras[j]) != (identity, camera)]
        ranks = [n for n, j in enumerate(kept, 1) if gallery_ids[j] == identity]
        if ranks:
            curves.append([float(ranks[0] <= r) for r in range(1, max_rank + 1)])
            precisions.append(sum(k / rank for k, rank in enumerate(ranks, 1)) / len(ranks))
            penalties.append(len(ranks) / ranks[-1])
    return np.mean(curves, 0), np.array(precisions), np.array(penalties)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_definition(seed, ties):
    rng = np.random.default_rng(seed)
    distances = rng.random((9, 40))
    if ties:
        distances = distances.round(1)
    ids = rng.integers(0, 5, 9), rng.integers(0, 6, 40)
    cameras = rng.integers(0, 3, 9), rng.integers(0, 3, 40)
    cmc, precision, penalty = slow_ranking(distances, *ids, *cameras, 60)
    ours = evaluate_rank(*(torch.from_numpy(a) for a in (distances, *ids, *cameras)), max_rank=60)
    np.testing.assert_allclose(ours.cmc, cmc, atol=1e-12)
    np.testing.assert_allclose(ours.average_precision, precision, atol=1e-12)
    np.testing.assert_allclose(ours.inverse_penalty, penalty, atol=1e-12)


@pytest.mark.shared
@pytest.mark.parametrize("problem", ["p0", "p1", "p2"])
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("max_rank", [10, 50])
def test_golden(problem, metric, max_rank):
    golden = np.load(shared_path("golden/fastreid/evaluation.npz"))
    data = {key: torch.from_numpy(golden[f"{problem}.{key}"]) for key in KEYS}
    distances = DISTANCES[metric](data["q_feat"], data["g_feat"])
    np.testing.assert_allclose(distances, golden[f"{problem}.{metric}_dist"], rtol=1e-5, atol=1e-5)
    stem = f"{problem}.{metric}.max{max_rank}"
    ours = evaluate_rank(
        torch.from_numpy(golden[f"{problem}.{metric}_dist"]),
        *(data[key] for key in KEYS[2:]),
        max_rank=max_rank,
    )
    np.testing.assert_allclose(ours.cmc, golden[f"{stem}.cmc"], atol=1e-6)
    np.testing.assert_allclose(ours.average_precision, golden[f"{stem}.ap"], atol=1e-6)
    np.testing.assert_allclose(ours.inverse_penalty, golden[f"{stem}.inp"], atol=1e-6)


def test_a_gallery_shorter_than_max_rank_gives_a_level_curve():
    one, two = torch.tensor([1]), torch.tensor([1, 2])
    ranking = evaluate_rank(torch.tensor([[0.9, 0.1]]), one, two, one, torch.tensor([2, 2]), 4)
    assert ranking.cmc.tolist() == [0, 1, 1, 1]


def test_queries_without_a_match_are_named_when_none_is_left():
    with pytest.raises(ValueError, match="none of the 1 queries has a match under another camera"):
        evaluate_rank(torch.zeros(1, 1), *(torch.ones(1) for _ in range(4)))


def test_nan_distances_are_refused():
    distances = torch.tensor([[0.0], [torch.nan]])
    with pytest.raises(ValueError, match="query 1 hold NaN"):
        evaluate_rank(distances, *(torch.ones(n) for n in (2, 1, 2, 1)))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"shape \(2, 1\), got \(1, 2\)"):
        evaluate_rank(torch.zeros(1, 2), *(torch.ones(n) for n in (2, 1, 2, 1)))
    with pytest.raises(ValueError, match=r"\(Q, D\) and \(G, D\)"):
        cosine_distances(torch.zeros(1, 2), torch.zeros(1, 3))


@pytest.mark.parametrize("distance", DISTANCES.values())
def test_no_queries_give_no_rows(distance):
    assert distance(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)


def test_squared_euclidean_is_that_of_cdist():
    a, b = torch.randn(5, 7, dtype=torch.float64), torch.randn(6, 7, dtype=torch.float64)
    torch.testing.assert_close(squared_euclidean_distances(a, b), torch.cdist(a, b).square())
