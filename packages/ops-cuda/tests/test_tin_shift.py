"""MM-257: frames shifted in time."""

import numpy as np
import pytest
import torch

from okulo_ops import TINShift, tin_shift


def sample(clips=3, frames=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shift = torch.tensor([[1, -2], [0, 3], [-(2**62), 2**62]])[:clips]
    return torch.randn(clips, frames, 4, 3, generator=generator, dtype=dtype), shift


def reference(input, shift):
    out = torch.zeros_like(input)
    clips, frames, channels, _ = input.shape
    for n, t, c in np.ndindex(clips, frames, channels):
        goal = t + shift[n, c // (channels // shift.shape[1])].item()
        if 0 <= goal < frames:
            out[n, goal, c] = input[n, t, c]
    return out


def test_contract(check_operator, device):
    check_operator("tin_shift", sample(), wrt=(0,), device=device)


@pytest.mark.parametrize("sizes", [{"clips": 0}, {"frames": 0}])
def test_contract_without_frames(check_operator, device, sizes):
    check_operator("tin_shift", sample(**sizes), wrt=(0,), device=device)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int8])
def test_frames_move_by_the_shift_of_their_group(device, dtype):
    x, shift = sample()
    shift = shift.clamp(-100, 100).to(dtype)
    ours = TINShift()(x.to(device), shift.to(device))
    assert torch.equal(ours.cpu(), reference(x, shift))


def test_gradient_moves_back(device):
    """mmcv moves the gradient forward once more instead."""
    x = torch.ones(1, 4, 2, 1, device=device, requires_grad=True)
    shift = torch.tensor([[1, -2]], device=device)
    tin_shift(x, shift).sum().backward()
    assert x.grad[0, :, 0, 0].tolist() == [1, 1, 1, 0]
    assert x.grad[0, :, 1, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    x = golden("tin_shift.in0").requires_grad_()
    output = tin_shift(x, golden("tin_shift.in1"))
    torch.testing.assert_close(output.double(), golden("tin_shift.out"), rtol=0, atol=0)
    output.backward(golden.weights(output))
    torch.testing.assert_close(x.grad.double(), golden("tin_shift.grad0"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("input", "shift", "message"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, 2).long(), r"must have shape \(N, T, C, HW\)"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 2), r"must be integer .* got torch.float32"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(3, 2).long(), r"shape \(2, G\), got"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 3).long(), "got 3 groups and 4 channels"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 8).long(), "got 8 groups and 4 channels"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 0).long(), "got 0 groups and 4 channels"),
    ],
)
def test_refused_input_says_what_was_expected(input, shift, message):
    with pytest.raises(ValueError, match=message):
        tin_shift(input, shift)
