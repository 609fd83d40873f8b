"""riroi_align_rotated, RiRoIAlignRotated of section 19 of mmcv's operators."""

import math

import pytest
import torch

from okulo_ops import RiRoIAlignRotated, mmcv, riroi_align_rotated

INPUT = torch.rand(2, 8, 9, 11, generator=torch.Generator().manual_seed(0))
ROIS = torch.tensor([[0, 15.0, 14.0, 20.0, 13.0, 0.4], [1, 20.5, 3.25, 40.0, 31.0, -2.5]])


@pytest.mark.parametrize("clockwise", [False, True])
@pytest.mark.parametrize("step", range(-2, 5))
def test_whole_steps_shift_the_orientations(step, clockwise, device):
    x, rois = INPUT.double().to(device), ROIS.double().to(device)
    angle = (step + 1e-6) * math.pi / 2  # counter-clockwise; just below a step the law jumps
    rois[:, 5] = -angle if clockwise else angle
    ours = riroi_align_rotated(x, rois, (2, 3), 0.25, 2, 4, clockwise)
    space = mmcv.roi_align_rotated(x, rois, (2, 3), 0.25, 2, False, clockwise)
    expected = space.unflatten(1, (2, 4)).roll(step, dims=2).flatten(1, 2)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_between_two_steps_channels_are_mixed():
    rois = ROIS[:1].clone()
    rois[:, 5] = 0.25 * math.pi / 2
    ours = riroi_align_rotated(INPUT, rois, 2, 0.25, 2, 4)
    space = mmcv.roi_align_rotated(INPUT, rois, 2, 0.25, 2, False)
    torch.testing.assert_close(ours[:, 3], 0.75 * space[:, 3] + 0.25 * space[:, 0])
    torch.testing.assert_close(ours[:, 4], 0.75 * space[:, 4] + 0.25 * space[:, 5])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_its_dtype(dtype):
    pooled = riroi_align_rotated(INPUT.to(dtype), ROIS, 2, 0.25, 2, 4)
    exact = riroi_align_rotated(INPUT.to(dtype).double(), ROIS, 2, 0.25, 2, 4)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), exact, rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_the_gradient_is_the_derivative():
    features = INPUT[:, :4, :3, :4].double().requires_grad_()
    rois = (ROIS / torch.tensor([1, 2, 2, 2, 2, 1])).double()
    pool = RiRoIAlignRotated(2, 0.25, 2, num_orientations=4)
    assert torch.autograd.gradcheck(lambda x: pool(x, rois), features)


def test_it_compiles_as_one_graph():
    compiled = torch.compile(riroi_align_rotated, fullgraph=True, backend="aot_eager")
    args = INPUT, ROIS, 2, 0.25, 2, 4
    assert torch.equal(compiled(*args), riroi_align_rotated(*args))


def test_no_boxes_keep_their_shape():
    assert riroi_align_rotated(INPUT, ROIS[:0], (2, 3), 1.0).shape == (0, 8, 2, 3)


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden, name = golden_mmcv("ops_from_definition"), "riroi_align_rotated.o4"
    features = golden(f"{name}.in0").requires_grad_()
    pooled = RiRoIAlignRotated((3, 2), 0.5, 2, 4)(features, golden(f"{name}.in1"))
    torch.testing.assert_close(pooled.double(), golden(f"{name}.out"), rtol=1e-4, atol=1e-4)
    pooled.backward(golden.weights(pooled))
    expected = golden(f"{name}.grad0")
    torch.testing.assert_close(features.grad.double(), expected, rtol=1e-4, atol=1e-4)


def test_channels_that_do_not_divide_into_orientations_are_refused():
    with pytest.raises(ValueError, match="divide into 3 orientations, got 8 channels"):
        riroi_align_rotated(INPUT, ROIS, 2, 1.0, num_orientations=3)
