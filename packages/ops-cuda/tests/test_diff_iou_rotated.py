"""Section 19: diff_iou_rotated_2d and diff_iou_rotated_3d."""

import pytest
import torch

from okulo_ops import diff_iou_rotated_2d, diff_iou_rotated_3d, mmcv


def some_boxes(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(*shape, 5, generator=generator)
    return values * torch.tensor([4.0, 4, 3, 3, 6]) + torch.tensor([0, 0, 1.0, 1, -3])


def test_contract(check_operator, device):
    args = some_boxes(9, seed=1), some_boxes(9, seed=2)
    check_operator("rotated_shared_area", args, wrt=(0, 1), device=device)
    nothing = torch.zeros(0, 5)
    check_operator("rotated_shared_area", (nothing, nothing), wrt=(0, 1), device=device)


@pytest.mark.shared
def test_recorded_numbers_and_gradients(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    boxes = [golden(f"diff_iou_rotated_2d.in{k}").double().requires_grad_() for k in (0, 1)]
    iou = diff_iou_rotated_2d(*boxes)
    torch.testing.assert_close(iou, golden("diff_iou_rotated_2d.out"), rtol=0, atol=1e-7)
    iou.backward(golden.weights(iou))
    for k in (0, 1):
        expected = golden(f"diff_iou_rotated_2d.grad{k}")
        torch.testing.assert_close(boxes[k].grad, expected, rtol=1e-5, atol=1e-6)


def test_iou_is_that_of_box_iou_rotated():
    first, second = some_boxes(2, 7, seed=3), some_boxes(2, 7, seed=4)
    for a, b, iou in zip(first, second, diff_iou_rotated_2d(first, second), strict=True):
        torch.testing.assert_close(iou, mmcv.box_iou_rotated(a, b, aligned=True))


def test_boxes_in_space_share_area_times_height():
    flat1, flat2 = some_boxes(2, 7, seed=5).double(), some_boxes(2, 7, seed=6).double()
    heights = torch.rand(4, 2, 7, dtype=torch.float64)

    def in_space(flat, z, length):
        x, y, w, h, angle = flat.unbind(-1)
        return torch.stack((x, y, z, w, h, length, angle), dim=-1)

    first, second = in_space(flat1, *heights[:2]), in_space(flat2, *heights[2:])
    areas1, areas2 = flat1[..., 2:4].prod(-1), flat2[..., 2:4].prod(-1)
    iou = diff_iou_rotated_2d(flat1, flat2)
    area = iou / (1 + iou) * (areas1 + areas2)
    ends = torch.stack((heights[0] + heights[1] / 2, heights[2] + heights[3] / 2)).amin(0)
    starts = torch.stack((heights[0] - heights[1] / 2, heights[2] - heights[3] / 2)).amax(0)
    shared = area * (ends - starts).clamp(min=0)
    expected = shared / (areas1 * heights[1] + areas2 * heights[3] - shared)
    torch.testing.assert_close(diff_iou_rotated_3d(first, second), expected)
    first.requires_grad_()
    assert torch.autograd.gradcheck(diff_iou_rotated_3d, (first, second))


def test_identical_and_flat_boxes_have_finite_gradients():
    boxes = some_boxes(1, 3, seed=7)
    boxes[0, 1, 2] = 0
    first, second = boxes.clone().requires_grad_(), boxes.clone().requires_grad_()
    iou = diff_iou_rotated_2d(first, second)
    torch.testing.assert_close(iou, torch.tensor([[1.0, 0.0, 1.0]]))
    iou.sum().backward()
    assert first.grad.isfinite().all()
    assert second.grad.isfinite().all()


def test_descent_brings_a_box_to_its_target():
    target = torch.tensor([[[0.0, 0.0, 4.0, 2.0, 0.3]]], dtype=torch.float64)
    box = torch.tensor([[[0.5, -0.4, 3.0, 2.5, 0.0]]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([box], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (1 - diff_iou_rotated_2d(box, target)).sum().backward()
        optimizer.step()
    assert diff_iou_rotated_2d(box, target).item() > 0.95


def test_no_boxes_give_none():
    assert diff_iou_rotated_2d(torch.zeros(1, 0, 5), torch.zeros(1, 0, 5)).shape == (1, 0)
    assert diff_iou_rotated_3d(torch.zeros(0, 4, 7), torch.zeros(0, 4, 7)).shape == (0, 4)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"one shape \(B, N, 5\), got \(1, 2, 5\) and \(1, 3, 5\)"):
        diff_iou_rotated_2d(torch.zeros(1, 2, 5), torch.zeros(1, 3, 5))
    with pytest.raises(TypeError, match=r"floating point, got torch.int64"):
        diff_iou_rotated_3d(torch.zeros(1, 2, 7).long(), torch.zeros(1, 2, 7).long())
