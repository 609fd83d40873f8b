"""prroi_pool, PrRoIPool of section 19 of mmcv's operators."""

import pytest
import torch

from okulo_ops import PrRoIPool, prroi_pool

INPUT = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor(
    [
        [0, 2.1, 3.3, 17.2, 14.6],
        [1, -9.7, -6.1, 30.3, 8.9],
        [1, 5.13, 5.21, 5.47, 5.74],
        [0, 9.3, 2.2, 3.1, 7.7],
    ]
)


def reference(features, rois, size, scale, steps=400):
    """Midpoint sums of the surface, in float64."""
    out = torch.zeros(len(rois), features.shape[1], *size, dtype=torch.float64)
    middles = (torch.arange(steps).double() + 0.5) / steps
    for k, (image, *box) in enumerate(rois.double().tolist()):
        x0, y0, x1, y1 = (value * scale for value in box)
        if x1 <= x0 or y1 <= y0:
            continue
        for i in range(size[0]):
            for j in range(size[1]):
                y = y0 + (y1 - y0) / size[0] * (i + middles)
                x = x0 + (x1 - x0) / size[1] * (j + middles)
                rows = (1 - (y[:, None] - torch.arange(features.shape[2])).abs()).clamp(min=0)
                columns = (1 - (x[:, None] - torch.arange(features.shape[3])).abs()).clamp(min=0)
                values = features[int(image)].double()
                out[k, :, i, j] = rows.mean(dim=0) @ values @ columns.mean(dim=0)
    return out


def test_contract(check_operator, device):
    rois = ROIS[:3] + torch.tensor([0.5, 0, 0, 0, 0])  # an index is truncated; it has no gradient
    args = INPUT[:, :2], rois, 2, 3, 0.25
    check_operator("prroi_pool", args, wrt=(0, 1), device=device)


@pytest.mark.parametrize("images", [0, 2])
def test_contract_without_boxes(check_operator, device, images):
    args = INPUT[:images], torch.zeros(0, 5), 2, 2, 1.0
    check_operator("prroi_pool", args, wrt=(0, 1), device=device)


@pytest.mark.parametrize("size", [(1, 1), (3, 2)], ids=str)
def test_bins_are_means_of_the_surface(size, device):
    pooled = prroi_pool(INPUT.to(device), ROIS.to(device), size, 0.25).cpu()
    expected = reference(INPUT, ROIS, size, 0.25)
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=3e-5)


def test_the_map_is_continued_to_zero_within_one_pixel():
    roi = torch.tensor([[0.0, -1.0, -1.0, 3.0, 3.0]])
    # A hat has the integral 1, so the mean is the sum over the area of 4 x 4.
    pooled = prroi_pool(torch.ones(1, 1, 3, 3), roi, 1)
    assert pooled.item() == pytest.approx(9 / 16)


def test_tiny_bins_are_exact():
    features = INPUT[:1, :1]
    roi = torch.tensor([[0, 2.25, 1.25, 2.25 + 2**-18, 1.25 + 2**-18]])
    a, b, c, d = (features[0, 0, i, j].item() for i in (1, 2) for j in (2, 3))
    value = 0.75 * (0.75 * a + 0.25 * b) + 0.25 * (0.75 * c + 0.25 * d)
    assert prroi_pool(features, roi, 1).item() == pytest.approx(value, rel=1e-5)


def test_boxes_without_area_pool_zeros_and_get_none_of_the_gradient():
    rois = ROIS[3:].clone().requires_grad_()
    features = INPUT.clone().requires_grad_()
    pooled = prroi_pool(features, rois, 2, 0.25)
    pooled.sum().backward()
    assert pooled.eq(0).all()
    assert rois.grad.eq(0).all()
    assert features.grad.eq(0).all()


def test_huge_and_far_boxes():
    rois = torch.tensor([[0, -1e6, -1e6, 1e6, 1e6], [1, 1e8, 0.0, 2e8, 5.0]])
    pooled = prroi_pool(INPUT, rois, 1)
    assert pooled[1].eq(0).all()
    torch.testing.assert_close(pooled[0].flatten() * 4e12, INPUT[0].sum((1, 2)), rtol=0.2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_boxes_in_float32(dtype):
    rois = ROIS.clone().requires_grad_()
    pooled = prroi_pool(INPUT.to(dtype), rois, 2, 0.25)
    exact = prroi_pool(INPUT.to(dtype).float(), ROIS, 2, 0.25)
    assert torch.equal(pooled, exact.to(dtype))
    pooled.sum().backward()
    assert rois.grad.dtype == torch.float32


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    features, rois = (golden(f"prroi_pool.in{i}").requires_grad_() for i in (0, 1))
    pooled = PrRoIPool((3, 2), 0.5)(features, rois)
    torch.testing.assert_close(pooled.double(), golden("prroi_pool.out"), rtol=1e-4, atol=1e-4)
    pooled.backward(golden.weights(pooled))
    for gradient, name in ((features.grad, "grad0"), (rois.grad, "grad1")):
        expected = golden(f"prroi_pool.{name}")
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rois", "message"),
    [
        (ROIS[:, :4], r"rois must have shape \(N, 5\), got \(4, 4\)"),
        (ROIS + 1, "column 0 of rois must index one of the 2 images"),
        (
            ROIS * torch.tensor([1, 1, 1, 1, torch.nan]),
            "coordinates of rois must be finite, got nan",
        ),
    ],
)
def test_refused_input_says_what_was_expected(rois, message):
    with pytest.raises(ValueError, match=message):
        prroi_pool(INPUT, rois, 2)
