"""mmcv inventory, section 19: voxels, dynamic_scatter, chamfer_distance, assign_score_withk."""

import pytest
import torch

from okulo_ops import (
    DynamicScatter,
    Voxelization,
    assign_score_withk,
    chamfer_distance,
    dynamic_scatter,
    voxelization,
)

SIZE, RANGE = (1.0, 1.5, 2.0), (0, 0, -3, 8, 8, 1)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def cells(*shape, seed=0):
    return torch.randint(-1, 3, shape, generator=torch.Generator().manual_seed(seed))


def test_contract_of_voxelization(check_operator, device):
    points = 3 * uniform(30, 4) - 0.5
    args = points, [0.0, 0.0, 0.0], [1.0, 0.5, 2.0], [2, 4, 1]
    check_operator("voxel_coordinates", args, device=device)
    coordinates = cells(40, 3).int()
    coordinates[(coordinates < 0).any(dim=1)] = -1
    check_operator("group_by_voxel", (coordinates, [3, 3, 3], 2, 9), device=device)
    check_operator("group_by_voxel", (coordinates[:0], [3, 3, 3], 2, 9), device=device)


def test_contract_of_dynamic_scatter(check_operator, device):
    coors = cells(40, 3)
    check_operator("unique_voxels", (coors,), device=device)
    voxels, voxel = torch.ops.okulo.unique_voxels(coors)
    feats = (4 * uniform(40, 5)).round()  # ties
    check_operator("greatest_of_voxel", (feats, voxel, voxels), device=device)


def test_contract_of_assign_score(check_operator, device):
    index = torch.tensor([[[0, 2, 1], [3, 3, 0]]])
    args = uniform(1, 2, 3, 2), uniform(1, 4, 2, 3, seed=1), uniform(1, 4, 2, 3, seed=2), index
    check_operator("assign_score_withk", args, wrt=(0, 1, 2), device=device)


def reference_voxels(points, max_points, max_voxels):
    """Point after point, in a dictionary."""
    voxels = {}
    for i, point in enumerate(points.double().tolist()):
        at = tuple(int((point[d] - RANGE[d]) // SIZE[d]) for d in (2, 1, 0))
        if any(a < 0 or a >= g for a, g in zip(at, (2, 5, 8), strict=True)):
            continue
        if at in voxels or len(voxels) < max_voxels:
            voxels.setdefault(at, []).append(i)
    return {at: rows[:max_points] for at, rows in voxels.items()}


def test_first_points_of_first_voxels_are_kept():
    points = uniform(300, 5) * torch.tensor([9.0, 9, 5, 1, 1]) - torch.tensor([0.5, 0.5, 3.5, 0, 0])
    expected = reference_voxels(points, 3, 20)
    voxels, coors, count = Voxelization(SIZE, RANGE, 3, 20)(points)
    assert [tuple(row) for row in coors.tolist()] == list(expected)
    for voxel, n, rows in zip(voxels, count, expected.values(), strict=True):
        assert n == len(rows)
        assert torch.equal(voxel[:n], points[rows])
        assert not voxel[n:].any()


def test_limits_of_voxels_follow_the_mode():
    points = uniform(100, 3) * 8 - torch.tensor([0.0, 0, 3])
    module = Voxelization(SIZE, RANGE, 3, (5, 7))
    assert len(module(points)[0]) == 5
    assert len(module.eval()(points)[0]) == 7
    assert module.grid_size.tolist() == [8, 5, 2]


def test_gradient_of_voxels_goes_to_the_points_in_them():
    points = (uniform(50, 3) * 2).requires_grad_()
    voxels, _, count = voxelization(points, SIZE, RANGE, 2, 5)
    voxels.sum().backward()
    assert points.grad.sum() == 3 * count.sum()


def test_points_that_are_not_numbers_belong_to_no_voxel():
    points = torch.tensor([[torch.nan, 1, 0], [torch.inf, 1, 0], [-1e30, 1, 0], [1, 1, 0]])
    coors = voxelization(points, SIZE, RANGE, -1, -1)
    assert coors.tolist() == [[-1] * 3] * 3 + [[1, 0, 1]]
    assert voxelization(points[:0], SIZE, RANGE)[0].shape == (0, 35, 3)


@pytest.mark.shared
def test_recorded_voxels(golden_mmcv):
    golden = golden_mmcv("ops_misc")
    points = golden("voxel.points")
    voxels, coors, count = voxelization(points, SIZE, RANGE, 3, 40)
    assert torch.equal(voxels, golden("voxel.hard.voxels"))
    assert torch.equal(coors, golden("voxel.hard.coors_zyx"))
    assert torch.equal(count, golden("voxel.hard.num_points"))
    assert torch.equal(voxelization(points, SIZE, RANGE, -1), golden("voxel.dynamic.coors"))


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["mean", "max"])
def test_recorded_scatter(golden_mmcv, kind):
    golden = golden_mmcv("ops_from_definition")
    feats, coors = golden("dynamic_scatter.feats"), golden("dynamic_scatter.coors")
    out, voxels = dynamic_scatter(feats, coors, kind)
    assert torch.equal(voxels, golden("dynamic_scatter.out_coors"))
    torch.testing.assert_close(out.double(), golden(f"dynamic_scatter.{kind}").double())


def test_gradient_of_scatter():
    coors = torch.tensor([[0, 1], [0, 0], [0, 1], [-1, 0]])
    feats = torch.tensor([[2.0], [1.0], [2.0], [9.0]], requires_grad=True)
    out, voxels = DynamicScatter((1, 1, 1), RANGE, average_points=False)(feats, coors)
    assert voxels.tolist() == [[0, 0], [0, 1]]
    assert out.tolist() == [[1], [2]]
    out.sum().backward()
    assert feats.grad[:, 0].tolist() == [1, 1, 0, 0]  # the first of equal ones
    feats.grad = None
    dynamic_scatter(feats, coors, "mean")[0].sum().backward()
    assert feats.grad[:, 0].tolist() == [0.5, 1, 0.5, 0]


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_scatter_without_points(kind):
    out, voxels = dynamic_scatter(torch.zeros(0, 4), torch.zeros(0, 3, dtype=torch.int32), kind)
    assert out.shape == (0, 4)
    assert voxels.shape == (0, 3)
    dropped = dynamic_scatter(torch.zeros(2, 4), torch.full((2, 3), -1), kind)
    assert dropped[0].shape == (0, 4)


@pytest.mark.shared
def test_recorded_chamfer(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    inputs = [golden(f"chamfer_distance.in{i}").requires_grad_() for i in range(2)]
    outputs = chamfer_distance(*inputs)
    for i, out in enumerate(outputs):
        torch.testing.assert_close(
            out.to(golden(f"chamfer_distance.out{i}")),
            golden(f"chamfer_distance.out{i}"),
            rtol=1e-4,
            atol=1e-6,
        )
    outputs[0].backward(golden.weights(outputs[0]))
    for i, value in enumerate(inputs):
        torch.testing.assert_close(
            value.grad.double(), golden(f"chamfer_distance.grad{i}"), rtol=1e-4, atol=1e-6
        )


def test_chamfer_is_differentiable_twice():
    inputs = (
        uniform(1, 3, 2).double().requires_grad_(),
        uniform(1, 4, 2, seed=1).double().requires_grad_(),
    )
    assert torch.autograd.gradcheck(lambda *a: chamfer_distance(*a)[:2], inputs)
    assert torch.autograd.gradgradcheck(lambda *a: chamfer_distance(*a)[:2], inputs)


@pytest.mark.shared
def test_recorded_assignment(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    inputs = [golden(f"assign_score_withk.in{i}").requires_grad_() for i in range(3)]
    out = assign_score_withk(*inputs, golden("assign_score_withk.in3"))
    torch.testing.assert_close(out.double(), golden("assign_score_withk.out"), rtol=1e-4, atol=1e-6)
    out.backward(golden.weights(out))
    for i, value in enumerate(inputs):
        torch.testing.assert_close(
            value.grad.double(), golden(f"assign_score_withk.grad{i}"), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: voxelization(torch.zeros(2, 2), SIZE, RANGE), "x, y and z, got 2"),
        (lambda: voxelization(torch.zeros(2, 3), (1, 0, 1), RANGE), "three positive voxel sizes"),
        (lambda: voxelization(torch.zeros(2, 3), SIZE, RANGE, 0), "must be positive"),
        (lambda: dynamic_scatter(torch.zeros(2, 3), torch.zeros(2, 3)), "int32 or int64"),
        (lambda: chamfer_distance(torch.zeros(1, 2, 2), torch.zeros(1, 0, 2)), "the 0 points"),
    ],
)
def test_refused_input_says_what_was_expected(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
