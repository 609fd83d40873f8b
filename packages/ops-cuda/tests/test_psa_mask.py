"""MM-252: masks of point-wise spatial attention."""

import numpy as np
import pytest
import torch

from okulo_ops import PSAMask, psa_mask


def sample(batch=2, mask=(3, 5), size=(3, 4), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, mask[0] * mask[1], *size, generator=generator, dtype=dtype)


def reference(masks, psa_type, mask_size):
    """Entry by entry of every mask."""
    batch, _, height, width = masks.shape
    out = torch.zeros(batch, height * width, height, width, dtype=masks.dtype)
    for n, i, j, h, w in np.ndindex(batch, *mask_size, height, width):
        y, x = h + i - (mask_size[0] - 1) // 2, w + j - (mask_size[1] - 1) // 2
        if 0 <= y < height and 0 <= x < width:
            entry = masks[n, i * mask_size[1] + j, h, w]
            if psa_type == "collect":
                out[n, y * width + x, h, w] = entry
            else:
                out[n, h * width + w, y, x] = entry
    return out


@pytest.mark.parametrize("collect", [True, False])
def test_contract(check_operator, device, collect):
    masks = sample(batch=1, mask=(3, 2), size=(2, 3))
    check_operator("psa_mask", (masks, 3, 2, collect), wrt=(0,), device=device)


def test_contract_without_images(check_operator, device):
    check_operator("psa_mask", (sample(batch=0), 3, 5, True), wrt=(0,), device=device)


@pytest.mark.parametrize("psa_type", ["collect", "distribute"])
@pytest.mark.parametrize("mask_size", [(1, 1), (3, 5), (2, 4), (9, 11), (13, 2), (4, 31)])
def test_masks_are_moved_to_their_targets(device, psa_type, mask_size):
    masks = sample(mask=mask_size, dtype=torch.float64)
    ours_of = masks.to(device).requires_grad_()
    ours = psa_mask(ours_of, psa_type, mask_size)
    expected = reference(masks.requires_grad_(), psa_type, mask_size)
    torch.testing.assert_close(ours.detach().cpu(), expected.detach(), rtol=0, atol=0)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(expected, masks, weights)
    (our_gradient,) = torch.autograd.grad(ours, ours_of, weights.to(device))
    torch.testing.assert_close(our_gradient.cpu(), gradient, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_works(device, dtype):
    masks = sample(dtype=dtype)
    ours = psa_mask(masks.to(device), "collect", (3, 5))
    assert torch.equal(ours.cpu(), reference(masks, "collect", (3, 5)))


@pytest.mark.shared
@pytest.mark.parametrize("psa_type", ["collect", "distribute"])
def test_recorded_numbers(golden_mmcv, psa_type):
    golden = golden_mmcv("ops_conv_attention")
    masks = golden(f"psa_mask.{psa_type}.in0").requires_grad_()
    output = PSAMask(psa_type, (5, 7))(masks)
    torch.testing.assert_close(output, golden(f"psa_mask.{psa_type}.out"), rtol=0, atol=0)
    output.backward(golden.weights(output))
    torch.testing.assert_close(masks.grad, golden(f"psa_mask.{psa_type}.grad0"))


@pytest.mark.parametrize(
    ("psa_type", "mask_size", "message"),
    [
        ("gather", (3, 5), '"collect" or "distribute", got \'gather\''),
        ("collect", None, r"mask_size must be \(height, width\).*got None"),
        ("collect", (3, 0), r"mask_size must be .*got \(3, 0\)"),
    ],
)
def test_refused_settings_say_what_was_expected(psa_type, mask_size, message):
    with pytest.raises(ValueError, match=message):
        PSAMask(psa_type, mask_size)


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match=r"input must have shape \(N, 12, H, W\), got"):
        PSAMask("collect", (3, 4))(sample())
