"""D2-570: TensorMask's change of form."""

import math

import numpy as np
import pytest
import torch

from okulo_ops import SwapAlign2Nat, swap_align2nat


def sample(side=2, height=4, width=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, side**2, height, width, generator=generator, dtype=dtype)


def reference(X, factor, pad):
    """Sixteen corners, value after value, in float64."""
    n, channels, height, width = X.shape
    side = math.isqrt(channels)
    fine = factor * side
    shape = n, fine, fine, math.ceil(height / factor), math.ceil(width / factor)
    result = torch.zeros(shape, dtype=torch.float64)
    for at in np.ndindex(*shape):
        v, u, y, x = at[1:]
        points = [
            (v + 0.5) / factor - 0.5,
            (u + 0.5) / factor - 0.5,
            y * factor + v - fine / 2 + 0.5,
            x * factor + u - fine / 2 + 0.5,
        ]
        for corner in np.ndindex(2, 2, 2, 2):
            index = [math.floor(p) + k for p, k in zip(points, corner, strict=True)]
            share = math.prod(1 - abs(p - i) for p, i in zip(points, index, strict=True))
            sizes = side, side, height, width
            exists = all(0 <= i < s for i, s in zip(index, sizes, strict=True))
            a, b, c, d = index
            result[at] += share * (X[at[0], a * side + b, c, d].item() if exists else pad)
    return result.flatten(1, 2)


@pytest.mark.parametrize(("side", "factor"), [(2, 1), (2, 2), (3, 1)])
def test_contract(check_operator, device, side, factor):
    args = sample(side, height=3, width=2)[:1], factor, -6.0
    check_operator("swap_align2nat", args, wrt=(0,), device=device)


@pytest.mark.parametrize(("side", "factor"), [(2, 1), (3, 2), (2, 3), (3, 3)])
def test_values_are_those_of_the_definition(side, factor):
    X = sample(side, dtype=torch.float64)
    ours = swap_align2nat(X, factor, -2.0)
    torch.testing.assert_close(ours, reference(X, factor, -2.0))


def test_layer_and_no_images():
    X = sample()
    assert torch.equal(SwapAlign2Nat(2)(X), swap_align2nat(X, 2, -6.0))
    assert swap_align2nat(X[:0], 2).shape == (0, 16, 2, 2)


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        swap_align2nat(sample(), 0)
    with pytest.raises(ValueError, match="square number, got 3"):
        swap_align2nat(torch.zeros(1, 3, 2, 2), 1)
    with pytest.raises(ValueError, match=r"X must have shape \(N, V \* V, H, W\)"):
        swap_align2nat(torch.zeros(4, 2, 2), 1)
