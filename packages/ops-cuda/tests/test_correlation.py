"""Correlation (cost volume), section 19 of the inventory."""

import numpy as np
import pytest
import torch

from okulo_ops import Correlation

# kernel, displacement, stride, padding, dilation, dilation of the patch
SETTINGS = [(1, 1, 1, 0, 1, 1), (3, 2, 1, 1, 1, 1), (1, 2, 2, 0, 1, 2), (3, 1, 2, 2, 2, 1)]


def sample(shape=(2, 3, 5, 4), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2)]


def reference(a, b, kernel, reach, stride, padding, dilation, step):
    """Product after product, in float64."""
    height, width = a.shape[2:]
    size = [(s + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for s in a.shape[2:]]
    result = torch.zeros(len(a), 2 * reach + 1, 2 * reach + 1, *size, dtype=torch.float64)
    for n, i, j, oy, ox, ky, kx in np.ndindex(*result.shape, kernel, kernel):
        y, x = oy * stride - padding + ky * dilation, ox * stride - padding + kx * dilation
        y2, x2 = y + (i - reach) * step, x + (j - reach) * step
        if min(y, x, y2, x2) >= 0 and max(y, y2) < height and max(x, x2) < width:
            result[n, i, j, oy, ox] += (a[n, :, y, x] * b[n, :, y2, x2]).sum()
    return result


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[3]])
def test_contract(check_operator, device, settings):
    args = *sample((1, 2, 3, 3)), *settings
    check_operator("correlation", args, wrt=(0, 1), device=device)


def test_contract_without_images(check_operator, device):
    check_operator("correlation", (*sample((0, 2, 3, 3)), *SETTINGS[1]), device=device)


@pytest.mark.parametrize("settings", SETTINGS)
def test_sum_is_that_of_the_paper(settings):
    a, b = sample(dtype=torch.float64)
    torch.testing.assert_close(Correlation(*settings)(a, b), reference(a, b, *settings))


@pytest.mark.shared
@pytest.mark.parametrize("settings", SETTINGS)
def test_recorded_numbers(golden_mmcv, settings):
    golden = golden_mmcv("ops_from_definition")
    name = "correlation.k{}.d{}.s{}.p{}.dil{}.dp{}".format(*settings)
    inputs = [golden(f"{name}.in{i}").requires_grad_() for i in (0, 1)]
    result = Correlation(*settings)(*inputs)
    torch.testing.assert_close(result.double(), golden(f"{name}.out"), rtol=1e-4, atol=1e-5)
    for i, grad in enumerate(torch.autograd.grad(result, inputs, golden.weights(result))):
        torch.testing.assert_close(grad.double(), golden(f"{name}.grad{i}"), rtol=1e-4, atol=1e-4)


def test_refused_input_says_what_was_expected():
    a, b = sample()
    with pytest.raises(ValueError, match=r"shape and dtype of input1.*got \(2, 3, 5, 3\)"):
        Correlation()(a, b[..., :3])
    with pytest.raises(ValueError, match=r"size -1 x -2.*raise padding"):
        Correlation(kernel_size=7)(a, b)
