"""Deformable RoI pooling: rows MM-235, MM-236, MM-237."""

import math

import pytest
import torch

from okulo_ops import (
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPoolPack,
    deform_roi_pool,
    roi_align,
)

INPUT = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor(
    [[0, 1.0, 2.0, 9.1, 7.5], [1, 3.5, 1.25, 12.3, 10.0], [1, -4.0, -3.0, 15.5, 12.7]]
)
OFFSET = torch.randn(3, 2, 2, 3, generator=torch.Generator().manual_seed(1))


def bilinear(plane, y, x):
    """Value of a (H, W) list of lists: the border repeated for one cell, then zero."""
    height, width = len(plane), len(plane[0])
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    value = 0.0
    for row in range(height):
        for column in range(width):
            value += plane[row][column] * max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
    return value


def reference(input, rois, offset, size, scale, ratio, gamma):
    """Bin by bin and sample by sample in Python's float64."""
    output = torch.zeros(len(rois), input.shape[1], *size, dtype=torch.float64)
    for k, (image, *box) in enumerate(rois.double().tolist()):
        x0, y0, x1, y1 = (v * scale - 0.5 for v in box)
        height, width = y1 - y0, x1 - x0
        rows = ratio or math.ceil(height / size[0])
        columns = ratio or math.ceil(width / size[1])
        for c, plane in enumerate(input[int(image)].double().tolist()):
            for i in range(size[0]):
                for j in range(size[1]):
                    dx, dy = offset[k, :, i, j].double().tolist()
                    places = [
                        (
                            y0 + height / size[0] * (i + (a + 0.5) / rows) + gamma * height * dy,
                            x0 + width / size[1] * (j + (b + 0.5) / columns) + gamma * width * dx,
                        )
                        for a in range(rows)
                        for b in range(columns)
                    ]
                    output[k, c, i, j] = sum(bilinear(plane, *p) for p in places) / len(places)
    return output


def test_contract(check_operator, device):
    args = INPUT[:, :2], ROIS, OFFSET, 2, 3, 0.5, 2, 0.1
    check_operator("deform_roi_pool", args, wrt=(0, 2), device=device)


def test_contract_without_offset(check_operator, device):
    args = INPUT[:, :2], ROIS, None, 2, 3, 0.5, 0, 0.1
    check_operator("deform_roi_pool", args, wrt=(0,), device=device)


def test_contract_without_boxes(check_operator, device):
    args = INPUT[:, :2], ROIS[:0], OFFSET[:0], 2, 3, 0.5, 0, 0.1
    check_operator("deform_roi_pool", args, wrt=(0, 2), device=device)


@pytest.mark.parametrize("ratio", [0, 2])
def test_bins_are_means_of_moved_samples(ratio):
    pooled = deform_roi_pool(INPUT, ROIS, OFFSET, (2, 3), 0.5, ratio, 0.3)
    expected = reference(INPUT, ROIS, OFFSET, (2, 3), 0.5, ratio, 0.3)
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ratio", [0, 2])
def test_without_offset_it_is_roi_align(ratio):
    pooled = DeformRoIPool((2, 3), 0.5, ratio)(INPUT, ROIS)
    torch.testing.assert_close(pooled, roi_align(INPUT, ROIS, (2, 3), 0.5, ratio, True))


@pytest.mark.shared
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("kind", ["offset", "plain"])
def test_recorded_numbers(golden_mmcv, kind, ratio):
    golden, name = golden_mmcv("ops_from_definition"), f"deform_roi_pool.{kind}.s{ratio}"
    features = golden(f"{name}.in0").requires_grad_()
    offset = golden(f"{name}.in2").requires_grad_() if kind == "offset" else None
    pooled = deform_roi_pool(features, golden(f"{name}.in1"), offset, (3, 2), 0.5, ratio, 0.1)
    torch.testing.assert_close(pooled.double(), golden(f"{name}.out"), rtol=1e-4, atol=1e-5)
    pooled.backward(golden.weights(pooled))
    expected = golden(f"{name}.grad0")
    torch.testing.assert_close(features.grad.double(), expected, rtol=1e-4, atol=1e-5)
    if offset is not None:
        expected = golden(f"{name}.grad2")
        torch.testing.assert_close(offset.grad.double(), expected, rtol=1e-4, atol=1e-5)


def test_boxes_without_extent_are_zero_and_give_no_gradient():
    """Upstream divides by their number of samples, 0, in the backward pass."""
    features, offset = INPUT.clone().requires_grad_(), OFFSET[:1].clone().requires_grad_()
    pooled = deform_roi_pool(features, torch.tensor([[0, 4.0, 4, 4, 4]]), offset, (2, 3))
    assert not pooled.any()
    pooled.sum().backward()
    assert not features.grad.any()
    assert not offset.grad.any()


def test_packs_start_without_movement():
    torch.manual_seed(0)
    plain = roi_align(INPUT, ROIS, (2, 3), 0.5, 2, True)
    pack = DeformRoIPoolPack((2, 3), 3, 8, 0.5, 2)
    torch.testing.assert_close(pack(INPUT, ROIS), plain)
    modulated = ModulatedDeformRoIPoolPack((2, 3), 3, 8, 0.5, 2)
    torch.testing.assert_close(modulated(INPUT, ROIS), plain / 2)
    assert [m.out_features for m in modulated.offset_fc[::2]] == [8, 8, 12]
    assert [m.out_features for m in modulated.mask_fc[::2]] == [8, 6]
    modulated(INPUT, ROIS).square().sum().backward()
    assert modulated.mask_fc[-2].bias.grad.any()
    assert modulated.offset_fc[-1].bias.grad.any()
    assert pack(INPUT, ROIS[:0]).shape == (0, 3, 2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": INPUT[0]}, r"input must have shape \(N, C, H, W\)"),
        ({"rois": ROIS[:, 1:]}, r"must have shape \(N, 5\), got \(3, 4\)"),
        ({"offset": OFFSET[:2]}, r"offset must be floating of shape \(3, 2, 2, 3\)"),
        ({"input": INPUT[:1]}, "index one of the 1 images, got values from 0 to 1"),
    ],
    ids=["input", "boxes", "offset", "image"],
)
def test_wrong_input_is_refused(change, message):
    arguments = {"input": INPUT, "rois": ROIS, "offset": OFFSET, "output_size": (2, 3)}
    with pytest.raises(ValueError, match=message):
        deform_roi_pool(**(arguments | change))


def test_packs_refuse_other_channels():
    with pytest.raises(ValueError, match="must have 4 channels"):
        DeformRoIPoolPack(2, 4, 8)(INPUT, ROIS)
