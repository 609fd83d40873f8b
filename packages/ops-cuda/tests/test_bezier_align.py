"""bezier_align, BezierAlign of section 19 of mmcv's operators."""

import math
from itertools import chain

import pytest
import torch
import torch.nn.functional as F

from okulo_ops import BezierAlign, bezier_align, roi_align
from okulo_ops._operator import OPERATORS

INPUT = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
UPPER = [[2.0, 6.0], [12.0, 1.0], [24.0, 9.0], [38.0, 4.0]]
LOWER = [[37.0, 20.0], [25.0, 26.0], [14.0, 17.0], [3.0, 22.0]]  # from right to left
CURVES = torch.tensor(
    [
        [1, *chain(*UPPER, *LOWER)],
        [0, *chain(*LOWER, *UPPER)],
        [0, -20, 3, -5, 60, 40, -9, 70, 30, 70, 31, 40, 31, 5, 31, -20, 31],
    ]
)


def box(x0, y0, x1, y1):
    """The curves of an upright box in image 0."""
    thirds = [(x0 * (3 - i) + x1 * i) / 3 for i in range(4)]
    points = [[x, y0] for x in thirds] + [[x, y1] for x in reversed(thirds)]
    return torch.tensor([[0.0, *chain(*points)]])


def test_contract(check_operator, device):
    for ratio, aligned in ((0, True), (2, False)):
        args = INPUT[:, :2, :5, :6], CURVES * CURVES.new_tensor([2] + [1] * 16).clamp(max=1)
        check_operator("bezier_align", (*args, 2, 3, 0.25, ratio, aligned), wrt=(0,), device=device)


def test_contract_without_curves(check_operator, device):
    args = INPUT, torch.zeros(0, 17), 2, 2, 1.0, 0, True
    check_operator("bezier_align", args, wrt=(0,), device=device)


def test_one_sample_is_on_the_line_between_the_curves(device):
    pooled = bezier_align(INPUT.to(device), CURVES[:1].to(device), (3, 4), 0.25, 1).cpu()
    for i in range(3):
        for j in range(4):
            weights = [math.comb(3, n) * (j / 4) ** n * (1 - j / 4) ** (3 - n) for n in range(4)]
            upper = [sum(w * p[a] for w, p in zip(weights, UPPER, strict=True)) for a in (0, 1)]
            lower = [
                sum(w * p[a] for w, p in zip(weights, reversed(LOWER), strict=True)) for a in (0, 1)
            ]
            x, y = (0.25 * (u + (v - u) * i / 3) for u, v in zip(upper, lower, strict=True))
            grid = torch.tensor([[[[2 * x / 11 - 1, 2 * y / 9 - 1]]]])
            sampled = F.grid_sample(INPUT[1:], grid, padding_mode="border", align_corners=False)
            torch.testing.assert_close(pooled[0, :, i, j], sampled.flatten(), rtol=0, atol=1e-5)


def test_between_level_curves_bins_have_no_height():
    pooled = bezier_align(INPUT, box(3.0, 2.0, 9.5, 7.0), (2, 4), 1.0, 3)
    half = 6.5 / 4 / 2  # bins stand about j / width, those of roi_align half a bin further on
    for i, y in enumerate((2.0, 4.5)):
        row = roi_align(
            INPUT, torch.tensor([[0, 3.0 - half, y, 9.5 - half, y]]), (1, 4), 1.0, 3, True
        )
        torch.testing.assert_close(pooled[:, :, i : i + 1], row)
    assert bezier_align(INPUT, box(3.0, 2.0, 9.5, 7.0), (2, 4), 1.0, 0).eq(0).all()


@pytest.mark.shared
@pytest.mark.parametrize("ratio", [0, 2])
def test_recorded_numbers(golden_mmcv, ratio):
    golden = golden_mmcv("ops_roi")
    features = golden(f"bezier_align.s{ratio}.in0").requires_grad_()
    pooled = BezierAlign((4, 8), 0.5, ratio)(features, golden(f"bezier_align.s{ratio}.in1"))
    expected = golden(f"bezier_align.s{ratio}.out")
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)
    pooled.backward(golden.weights(pooled))
    expected = golden(f"bezier_align.s{ratio}.grad0")
    torch.testing.assert_close(features.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        (CURVES[:, :9], r"beziers must have shape \(N, 17\), got \(3, 9\)"),
        (CURVES + 1, "column 0 of beziers must index one of the 2 images"),
        (
            CURVES / torch.tensor([1, *[1] * 15, 0]),
            "coordinates of beziers must be finite, got inf",
        ),
    ],
)
def test_refused_input_says_what_was_expected(curves, message):
    with pytest.raises(ValueError, match=message):
        bezier_align(INPUT, curves, 2)


def test_a_strip_far_larger_than_the_map_is_sampled_where_the_map_is():
    large = CURVES * torch.tensor([1, *[5.0] * 16])
    settings = 3, 2, 1.0, 0, True
    expected = OPERATORS["bezier_align"](INPUT, large, *settings)
    torch.testing.assert_close(bezier_align(INPUT, large, (3, 2)), expected, rtol=1e-4, atol=1e-6)
    huge = CURVES * torch.tensor([1, *[1e5] * 16])  # 10^12 samples a bin, few of them on the map
    assert bezier_align(INPUT, huge, (3, 2)).isfinite().all()
