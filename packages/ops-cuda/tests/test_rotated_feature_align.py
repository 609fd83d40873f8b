"""rotated_feature_align of section 19 of mmcv's operators."""

import math

import pytest
import torch

from okulo_ops import rotated_feature_align

FEATURES = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def sample_boxes(seed=1):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([36.0, 44.0, 30.0, 30.0, 7.0])
    shift = torch.tensor([-3.0, -3.0, 0.0, 0.0, -3.5])
    return torch.rand(2, 4, 5, 5, generator=generator) * scale + shift


def centers(scale):
    """Boxes of a cell's size that stand where their feature does, (1, 4, 5, 5)."""
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    size = torch.full_like(x, 2.0)
    return torch.stack((y / scale, x / scale, size / scale, size / scale, 0 * x), dim=2)[None]


@pytest.mark.parametrize("points", [1, 5])
def test_contract(check_operator, device, points):
    args = FEATURES[:, :2], sample_boxes(), 0.125, points
    check_operator("rotated_feature_align", args, wrt=(0,), device=device)


def test_contract_without_images(check_operator, device):
    args = FEATURES[:0], sample_boxes()[:0], 0.125, 5
    check_operator("rotated_feature_align", args, wrt=(0,), device=device)


def test_a_box_about_its_own_feature_doubles_it():
    torch.testing.assert_close(
        rotated_feature_align(FEATURES[:1], centers(0.25), 0.25), 2 * FEATURES[:1]
    )


@pytest.mark.parametrize("quarters", [0, 1, 2])
def test_corners_are_the_diagonal_neighbours(quarters):
    boxes = centers(0.25)
    boxes[..., 4] = quarters * math.pi / 2
    added = rotated_feature_align(FEATURES[:1], boxes, 0.25, points=5)[0, :, 2, 2]
    corners = sum(FEATURES[0, :, 2 + i, 2 + j] for i in (-1, 1) for j in (-1, 1))
    torch.testing.assert_close(added, 2 * FEATURES[0, :, 2, 2] + corners)


def test_positive_angles_turn_clockwise_on_the_screen():
    features = torch.zeros(1, 1, 9, 9)
    features[0, 0, 6, 6] = 1.0  # below and right of the middle
    boxes = torch.tensor([4.0, 4.0, 4 * math.sqrt(2), 0.0, math.pi / 4]).expand(1, 9, 9, 5)
    assert rotated_feature_align(features, boxes, 1.0, 5)[0, 0, 0, 0] == pytest.approx(2, abs=1e-5)


def test_what_lies_outside_adds_nothing_and_infinities_do_not_crash():
    boxes = torch.full((2, 4, 5, 5), 1e30)
    assert torch.equal(rotated_feature_align(FEATURES, boxes, 1.0, 5), FEATURES)
    boxes[0] = torch.nan
    assert torch.equal(rotated_feature_align(FEATURES, boxes, 1.0, 5), FEATURES)


@pytest.mark.shared
@pytest.mark.parametrize("points", [1, 5])
def test_recorded_numbers(golden_mmcv, points):
    golden, name = golden_mmcv("ops_roi"), f"rotated_feature_align.p{points}"
    features = golden(f"{name}.in0").requires_grad_()
    aligned = rotated_feature_align(features, golden(f"{name}.in1"), 1.0, points)
    torch.testing.assert_close(aligned, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    aligned.backward(golden.weights(aligned))
    torch.testing.assert_close(features.grad, golden(f"{name}.grad0"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": FEATURES[0]}, r"features must have shape \(N, C, H, W\)"),
        ({"best_rbboxes": torch.zeros(2, 5, 4, 5)}, r"\(2, 4, 5, 5\), got \(2, 5, 4, 5\)"),
        ({"points": 2}, r"points must be 1 \(centre\) or 5 \(centre and corners\), got 2"),
    ],
)
def test_refused_input_says_what_was_expected(change, message):
    arguments = {"features": FEATURES, "best_rbboxes": sample_boxes()}
    with pytest.raises(ValueError, match=message):
        rotated_feature_align(**(arguments | change))
