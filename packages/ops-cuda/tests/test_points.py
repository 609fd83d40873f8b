"""mmcv inventory, section 19: neighbours, sampling and grouping of points."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import (
    GroupAll,
    PointsSampler,
    QueryAndGroup,
    ball_query,
    furthest_point_sample,
    furthest_point_sample_with_dist,
    gather_points,
    grouping_operation,
    knn,
    three_interpolate,
    three_nn,
)


def clouds(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def brute_force_neighbors(points, center, k):
    """Sorted by (distance, index), in Python's float64."""
    pairs = [
        (sum((a - b) ** 2 for a, b in zip(p, center, strict=True)), i) for i, p in enumerate(points)
    ]
    return [i for _, i in sorted(pairs)[:k]]


# --- contracts


def test_contract_of_nearest(check_operator, device):
    check_operator("nearest_points", (clouds(2, 9, 3), clouds(2, 4, 3, seed=1), 3), device=device)
    check_operator("nearest_points", (clouds(1, 300, 2), clouds(1, 0, 2), 1), device=device)


def test_contract_of_ball_query(check_operator, device):
    ends = torch.tensor([5, 5, 140]), torch.tensor([2, 3, 6])
    args = clouds(140, 3), clouds(6, 3, seed=1), *ends, 0.1, 0.5, 4
    check_operator("ball_query", args, device=device)


def test_contract_of_furthest_points(check_operator, device):
    check_operator("furthest_point_sample", (clouds(2, 37, 3), 6), device=device)
    check_operator("furthest_point_sample_with_dist", (clouds(2, 21, 21), 5), device=device)


def test_contract_of_grouping(check_operator, device):
    index = torch.tensor([[0, 4, 4, 1], [2, 2, 2, 3]])
    check_operator("group_points", (clouds(2, 3, 5), index), wrt=(0,), device=device)
    check_operator("group_points", (clouds(2, 3, 5), index[:, :0]), wrt=(0,), device=device)
    index = torch.tensor([[[0, 1, 4], [2, 2, 3]]])
    args = clouds(1, 2, 5), index, clouds(1, 2, 3, seed=1)
    check_operator("three_interpolate", args, wrt=(0, 2), device=device)


# --- neighbours


@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([1, 7, 150]))
def test_nearest_points_are_those_of_brute_force(seed, k, extra):
    points, centers = clouds(1, k + extra, 3, seed=seed), clouds(1, 2, 3, seed=seed + 1)
    points = (points * 8).round()  # many ties
    centers = (centers * 8).round()
    for j, center in enumerate(centers[0].tolist()):
        expected = brute_force_neighbors(points[0].tolist(), center, k)
        assert knn(k, points, centers)[0, :, j].tolist() == expected


def test_knn_of_a_cloud_finds_each_point_first():
    points = clouds(2, 20, 3)
    index = knn(4, points)
    assert index.shape == (2, 4, 20)
    assert torch.equal(index[:, 0], torch.arange(20).expand(2, 20))
    assert torch.equal(index, knn(4, points.transpose(1, 2), transposed=True))


def test_three_nn_gives_distances_in_the_dtype_of_the_target():
    target, source = clouds(1, 4, 3).bfloat16(), 1000 * clouds(1, 9, 3, seed=1)
    distance, index = three_nn(target, source)
    assert distance.dtype == torch.bfloat16
    exact = torch.cdist(target.float(), source)
    torch.testing.assert_close(distance.float(), exact.gather(2, index), rtol=0.01, atol=0)


def reference_ball(points, center, low, high, samples):
    found = []
    for i, point in enumerate(points.tolist()):
        d = sum((a - b) ** 2 for a, b in zip(point, center.tolist(), strict=True))
        if d == 0 or low**2 <= d < high**2:
            found.append(i)
    found = found[:samples]
    return found + [found[0] if found else 0] * (samples - len(found))


def test_ball_query_takes_the_first_points_in_their_order():
    points, centers = clouds(2, 300, 3).double(), clouds(2, 9, 3, seed=1).double()
    centers[0, 0] = 9.0  # far from everything
    index = ball_query(0.1, 0.3, 6, points, centers)
    for b in range(2):
        for j in range(9):
            expected = reference_ball(points[b], centers[b, j], 0.1, 0.3, 6)
            assert index[b, j].tolist() == expected


def test_stacked_clouds_are_searched_each_on_its_own():
    points, centers = clouds(30, 3), clouds(9, 3, seed=1)
    counts = torch.tensor([12, 0, 18]), torch.tensor([4, 0, 5])
    index = ball_query(0, 0.5, 4, points, centers, *(c.int() for c in counts))
    first = ball_query(0, 0.5, 4, points[None, :12], centers[None, :4])[0]
    last = ball_query(0, 0.5, 4, points[None, 12:], centers[None, 4:])[0]
    assert torch.equal(index, torch.cat((first, last)))
    features = clouds(30, 5).requires_grad_()
    grouped = grouping_operation(features, index, *counts)
    assert grouped.shape == (9, 5, 4)
    assert torch.equal(grouped[5, :, 2], features[12 + index[5, 2]])
    grouped.sum().backward()
    assert features.grad.sum() == grouped.numel()


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError):
        ball_query(0, 1, 2, clouds(5, 3), clouds(2, 3), torch.tensor([4]), torch.tensor([2]))
    with pytest.raises(ValueError, match="come together"):
        ball_query(0, 1, 2, clouds(5, 3), clouds(2, 3), torch.tensor([5]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": torch.tensor([[3], [1]])}, "below the points of the centre's own cloud"),
        ({"indices": torch.tensor([[-1], [1]])}, "from 0 to below the points"),
        ({"features_batch_cnt": torch.tensor([3, 3])}, r"must add up to 5, got \[3, 3\]"),
        ({"indices_batch_cnt": torch.tensor([3, -1])}, r"must add up to 2, got \[3, -1\]"),
        ({"indices_batch_cnt": torch.tensor([2])}, "for each cloud, got 2 and 1"),
        ({"indices_batch_cnt": torch.tensor([[2]])}, r"integer of shape \(B,\)"),
    ],
)
def test_groups_of_stacked_clouds_stay_in_their_cloud(change, message):
    arguments = {
        "indices": torch.tensor([[2], [1]]),
        "features_batch_cnt": torch.tensor([3, 2]),
        "indices_batch_cnt": torch.tensor([1, 1]),
    }
    with pytest.raises(ValueError, match=message):
        grouping_operation(clouds(5, 4), **(arguments | change))


# --- sampling


def test_furthest_points_are_those_of_the_greedy_rule():
    points = clouds(2, 100, 3).double()
    index = furthest_point_sample(points, 12)
    for b in range(2):
        chosen = [0]
        for _ in range(11):
            least = [
                min(((points[b, i] - points[b, c]) ** 2).sum().item() for c in chosen)
                for i in range(100)
            ]
            chosen.append(least.index(max(least)))
        assert index[b].tolist() == chosen
    distance = torch.cdist(points, points)
    assert torch.equal(furthest_point_sample_with_dist(distance, 12), index)


def test_once_all_points_are_chosen_index_0_repeats():
    assert furthest_point_sample(clouds(1, 3, 3), 5)[0, 3:].tolist() == [0, 0]


def test_sampler_works_on_each_range():
    points, features = clouds(2, 40, 3), clouds(2, 4, 40, seed=1)
    sampler = PointsSampler([5, 4, 3], ["D-FPS", "F-FPS", "FS"], [10, 25, -1])
    index = sampler(points, features)
    both = torch.cat((points, features.transpose(1, 2)), dim=2)
    expected = [
        furthest_point_sample(points[:, :10], 5),
        furthest_point_sample(both[:, 10:25], 4) + 10,
        furthest_point_sample(both[:, 25:], 3) + 25,
        furthest_point_sample(points[:, 25:], 3) + 25,
    ]
    assert torch.equal(index, torch.cat(expected, dim=1))
    assert torch.equal(PointsSampler([5])(points), furthest_point_sample(points, 5))


# --- grouping


def test_index_outside_the_cloud_is_refused():
    for bad in (-1, 5):
        index = torch.tensor([[0, bad]])
        with pytest.raises(RuntimeError, match="out of bounds"):
            gather_points(clouds(1, 2, 5), index)
        with pytest.raises(RuntimeError, match="out of bounds"):
            three_interpolate(clouds(1, 2, 5), torch.tensor([[[0, 1, bad]]]), clouds(1, 1, 3))


def test_group_is_relative_coordinates_then_features():
    points, centers, features = clouds(1, 30, 3), clouds(1, 4, 3, seed=1), clouds(1, 2, 30, seed=2)
    group = QueryAndGroup(
        0.4, 5, normalize_xyz=True, return_grouped_xyz=True, return_grouped_idx=True
    )
    out, xyz, index = group(points, centers, features)
    assert out.shape == (1, 5, 4, 5)
    i = index[0, 2, 3]
    assert torch.equal(xyz[0, :, 2, 3], points[0, i])
    torch.testing.assert_close(out[0, :3, 2, 3], (points[0, i] - centers[0, 2]) / 0.4)
    assert torch.equal(out[0, 3:, 2, 3], features[0, :, i])
    assert QueryAndGroup(None, 5, use_xyz=False)(points, centers, features).shape == (1, 2, 4, 5)


def test_uniform_sample_fills_from_what_was_found():
    points, centers = clouds(1, 40, 3), clouds(1, 6, 3, seed=1)
    group = QueryAndGroup(
        0.3, 8, uniform_sample=True, return_unique_cnt=True, return_grouped_idx=True
    )
    _, count, index = group(points, centers)
    for row, n, plain in zip(
        index[0], count[0], ball_query(0, 0.3, 8, points, centers)[0], strict=True
    ):
        assert set(row.tolist()) == set(plain.tolist())
        assert len(set(row.tolist())) == n


def test_all_points_are_one_group():
    points, features = clouds(2, 9, 3), clouds(2, 4, 9, seed=1)
    assert GroupAll()(points).shape == (2, 3, 1, 9)
    both = GroupAll()(points, None, features)
    assert torch.equal(both[:, :, 0], torch.cat((points.transpose(1, 2), features), dim=1))
    assert GroupAll(use_xyz=False)(points, None, features).shape == (2, 4, 1, 9)


# --- recorded numbers


@pytest.mark.shared
def test_recorded_indices(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    distance, index = three_nn(golden("three_nn.in0"), golden("three_nn.in1"))
    torch.testing.assert_close(distance.double(), golden("three_nn.out0"), rtol=1e-4, atol=1e-6)
    assert torch.equal(index, golden("three_nn.out1"))
    for name, settings in {"0.0.8.5": (0.0, 0.8, 5), "0.3.1.2.4": (0.3, 1.2, 4)}.items():
        name = f"ball_query.{name}"
        index = ball_query(*settings, golden(f"{name}.in0"), golden(f"{name}.in1"))
        assert torch.equal(index, golden(f"{name}.out"))
    index = knn(5, golden("knn.k5.in0"), golden("knn.k5.in1"))
    assert torch.equal(index, golden("knn.k5.out"))
    index = furthest_point_sample(golden("furthest_point_sample.8.in0"), 8)
    assert torch.equal(index, golden("furthest_point_sample.8.out"))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gather_points", gather_points),
        ("grouping_operation", grouping_operation),
        ("three_interpolate", three_interpolate),
    ],
)
def test_recorded_features(golden_mmcv, name, function):
    golden = golden_mmcv("ops_from_definition")
    features = golden(f"{name}.in0").requires_grad_()
    others = [golden(f"{name}.in1")]
    if name == "three_interpolate":
        others.append(golden(f"{name}.in2"))
    out = function(features, *others)
    torch.testing.assert_close(out.double(), golden(f"{name}.out"), rtol=1e-5, atol=1e-6)
    out.backward(golden.weights(out))
    torch.testing.assert_close(
        features.grad.double(), golden(f"{name}.grad0"), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knn(9, clouds(1, 5, 3)), "k from 1 to the 5 points.*got 9"),
        (lambda: three_nn(clouds(1, 5, 2), clouds(1, 5, 3)), r"target must have shape \(B, N, 3\)"),
        (lambda: knn(1, clouds(1, 5, 3), clouds(2, 5, 3)), "as many clouds.*got 1 and 2"),
        (lambda: furthest_point_sample(clouds(1, 0, 3), 1), "at least one point.*got 0 and 1"),
        (lambda: gather_points(clouds(1, 2, 5), clouds(1, 2)), "int32 or int64, got torch.float32"),
        (lambda: PointsSampler([5], ["E-FPS"]), "got {'E-FPS'}"),
        (lambda: QueryAndGroup(None, 5, normalize_xyz=True), "needs a max_radius"),
    ],
)
def test_refused_input_says_what_was_expected(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
