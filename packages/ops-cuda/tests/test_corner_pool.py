"""MM-232: corner pooling."""

import math

import pytest
import torch

from okulo_ops import CornerPool, corner_pool

MODES = ["top", "bottom", "left", "right"]


def sample(size=(5, 7), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, *size, generator=generator, dtype=dtype)


def reference(x, mode):
    """The maximum of a slice for every cell."""
    out = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            seen = {
                "top": x[:, :, i:, j],
                "bottom": x[:, :, : i + 1, j],
                "left": x[:, :, i, j:],
                "right": x[:, :, i, : j + 1],
            }[mode]
            out[:, :, i, j] = seen.amax(-1)
    return out


@pytest.mark.parametrize(("dim", "from_end"), [(2, True), (3, False)])
def test_contract(check_operator, device, dim, from_end):
    x = sample(size=(3, 4))
    check_operator("corner_pool", (x, dim, from_end), wrt=(0,), device=device)


@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_contract_without_cells(check_operator, device, size):
    x = torch.zeros(2, 1, *size)
    check_operator("corner_pool", (x, 2, True), wrt=(0,), device=device, dtypes=(torch.float32,))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(5, 7), (33, 16), (16, 35)])
def test_cells_are_maxima_of_one_side(device, mode, size):
    x = sample(size, dtype=torch.float64)
    ours_of = x.to(device).requires_grad_()
    ours = corner_pool(ours_of, mode)
    expected = reference(x.requires_grad_(), mode)
    assert torch.equal(ours.cpu(), expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(expected, x, weights)
    (our_gradient,) = torch.autograd.grad(ours, ours_of, weights.to(device))
    torch.testing.assert_close(our_gradient.cpu(), gradient)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float16])
@pytest.mark.parametrize(
    ("mode", "expected"), [("left", [3, 3, 3, 2, 2]), ("right", [2, 2, 3, 3, 3])]
)
def test_row_of_the_inventory_in_every_dtype(device, dtype, mode, expected):
    row = torch.tensor([2, 1, 3, 0, 2], dtype=dtype, device=device)
    for view in (row.view(1, 1, 1, 5), row.view(1, 1, 5, 1)):
        turned = {"left": "top", "right": "bottom"}[mode] if view.shape[3] == 1 else mode
        out = CornerPool(turned)(view)
        assert out.dtype == dtype
        assert out.flatten().tolist() == expected


def test_gradient_of_equal_maxima_goes_to_the_nearest(device):
    x = torch.tensor([1.0, 2, 2, 0], device=device).view(1, 1, 1, 4).requires_grad_()
    corner_pool(x, "right").backward(torch.tensor([1.0, 10, 100, 1000], device=device).view_as(x))
    assert x.grad.flatten().tolist() == [1, 10, 1100, 0]
    x.grad = None
    corner_pool(x, "left").backward(torch.tensor([1.0, 10, 100, 1000], device=device).view_as(x))
    assert x.grad.flatten().tolist() == [0, 11, 100, 1000]


def test_nan_and_infinity_are_passed_on(device):
    row = [-math.inf, -math.inf, 1.0, math.nan, math.inf]
    out = corner_pool(torch.tensor(row, device=device).view(1, 1, 1, 5), "right").flatten()
    assert out[:3].tolist() == [-math.inf, -math.inf, 1.0]
    assert out[3:].isnan().all()


@pytest.mark.shared
@pytest.mark.parametrize("mode", MODES)
def test_recorded_numbers(golden_mmcv, mode):
    golden = golden_mmcv("ops_roi")
    x = golden(f"corner_pool.{mode}.in0").requires_grad_()
    output = CornerPool(mode)(x)
    assert torch.equal(output, golden(f"corner_pool.{mode}.out"))
    output.backward(golden.weights(output))
    torch.testing.assert_close(x.grad, golden(f"corner_pool.{mode}.grad0"), rtol=1e-4, atol=1e-4)


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match="one of top, bottom, left, right, got 'centre'"):
        CornerPool("centre")
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\), got \(3, 4\)"):
        corner_pool(torch.zeros(3, 4), "top")
