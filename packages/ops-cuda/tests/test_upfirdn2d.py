"""MM-260, MM-261, MM-262 and section 19: resampling by filters; bias and activation."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from okulo_ops import (
    FusedBiasLeakyReLU,
    bias_act,
    downsample2d,
    filter2d,
    filtered_lrelu,
    fused_bias_leakyrelu,
    upfirdn2d,
    upsample2d,
)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def reference(x, kernel, up, down, pad):
    """One plane sample by sample: zeros in, pad or crop, convolve, leave out."""
    (h, w), (kh, kw) = x.shape, kernel.shape
    tall = {(i * up[1] + pad[2], j * up[0] + pad[0]): x[i, j] for i in range(h) for j in range(w)}
    height, width = h * up[1] + pad[2] + pad[3], w * up[0] + pad[0] + pad[1]
    out = torch.zeros((height - kh) // down[1] + 1, (width - kw) // down[0] + 1).double()
    for oy in range(out.shape[0]):
        for ox in range(out.shape[1]):
            for a in range(kh):
                for b in range(kw):
                    at = oy * down[1] + kh - 1 - a, ox * down[0] + kw - 1 - b
                    if at in tall:
                        out[oy, ox] += kernel[a, b] * tall[at]
    return out


@pytest.mark.parametrize(
    ("up", "down", "pad"),
    [([2, 2], [1, 1], [2, 1, 1, 2]), ([3, 2], [2, 3], [-1, 3, 2, 0])],
)
def test_contract(check_operator, device, up, down, pad):
    args = normal(1, 2, 5, 4), normal(3, 4, seed=1), up, down, pad
    check_operator("upfirdn2d", args, wrt=(0,), device=device)


def test_contract_of_the_activation(check_operator, device):
    args = normal(2, 3, 2, 9), normal(3, seed=1), 0.2, 1.5
    check_operator("fused_bias_leakyrelu", args, wrt=(0, 1), device=device)


factor = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, max_examples=40)
@given(factor, factor, st.lists(st.integers(-2, 5), min_size=4, max_size=4), st.integers(1, 5))
def test_samples_are_those_of_the_definition(up, down, pad, k):
    x, kernel = normal(1, 1, 5, 6).double(), normal(k, 3, seed=k).double()
    if 6 * up[0] + pad[0] + pad[1] < 3 or 5 * up[1] + pad[2] + pad[3] < k:
        with pytest.raises(ValueError, match="too small"):
            upfirdn2d(x, kernel, up, down, pad)
        return
    x.requires_grad_()
    ours = upfirdn2d(x, kernel, up, down, pad)
    expected = reference(x[0, 0], kernel, up, down, pad) + 0 * x.sum()
    torch.testing.assert_close(ours[0, 0], expected)
    weight = normal(*expected.shape, seed=2).double()
    pairs = ((ours[0, 0], x), (expected, x))
    grads = [torch.autograd.grad(out, at, weight)[0] for out, at in pairs]
    torch.testing.assert_close(*grads)


def test_a_filter_along_both_axes_is_its_outer_product():
    x, taps = normal(2, 3, 6, 7), torch.tensor([1.0, 3.0, 3.0, 1.0])
    for settings_ in ({"up": 2, "pad": (2, 1)}, {"down": (2, 1), "gain": 0.25}):
        both = [upfirdn2d(x, k, **settings_) for k in (taps, torch.outer(taps, taps))]
        torch.testing.assert_close(*both)


def test_flipped_filter_correlates():
    x, kernel = normal(1, 1, 6, 7), normal(3, 2, seed=1)
    ours = upfirdn2d(x, kernel, flip_filter=True)
    torch.testing.assert_close(ours, F.conv2d(x, kernel[None, None]))


def test_sizes_and_means_are_kept():
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    x = torch.ones(1, 2, 8, 10)
    assert filter2d(x, taps).shape == x.shape
    assert filter2d(x, taps, padding=(1, 2)).shape == (1, 2, 12, 12)
    larger, smaller = upsample2d(x, taps), downsample2d(x, taps)
    assert larger.shape == (1, 2, 16, 20)
    assert smaller.shape == (1, 2, 4, 5)
    torch.testing.assert_close(larger[..., 3:-3, 3:-3], torch.ones(1, 2, 10, 14))
    torch.testing.assert_close(smaller[..., 1:-1, 1:-1], torch.ones(1, 2, 2, 3))
    assert upsample2d(x, None, up=(3, 1)).shape == (1, 2, 8, 30)


def test_an_empty_batch_keeps_its_shape():
    x = torch.zeros(0, 3, 4, 4, requires_grad=True)
    out = upfirdn2d(x, torch.ones(2, 2), up=2)
    assert out.shape == (0, 3, 7, 7)
    out.sum().backward()
    assert fused_bias_leakyrelu(x, torch.zeros(3)).shape == x.shape


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_conv_attention")
    cases = {
        "u1.d1.p(0, 0, 0, 0)": (1, 1, (0, 0, 0, 0)),
        "u2.d1.p(2, 1, 1, 2)": (2, 1, (2, 1, 1, 2)),
        "u1.d2.p(1, 1, 2, 2)": (1, 2, (1, 1, 2, 2)),
        "u(2, 3).d(3, 2).p(2, 3, 1, 4)": ((2, 3), (3, 2), (2, 3, 1, 4)),
        "u2.d2.p(-1, 2, 3, -1)": (2, 2, (-1, 2, 3, -1)),
    }
    for case, (up, down, pad) in cases.items():
        name = f"upfirdn2d.{case}"
        x = golden(f"{name}.in0").requires_grad_()
        out = upfirdn2d(x, golden(f"{name}.in1"), up, down, pad)
        torch.testing.assert_close(out, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
        out.backward(golden.weights(out))
        torch.testing.assert_close(x.grad, golden(f"{name}.grad0"), rtol=1e-4, atol=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize(("case", "arguments"), [("", ()), (".s0.1", (0.1, 1.0))])
def test_recorded_activation(golden_mmcv, case, arguments):
    golden = golden_mmcv("ops_conv_attention")
    name = f"fused_bias_leakyrelu{case}"
    inputs = [golden(f"{name}.in{i}").requires_grad_() for i in range(2)]
    out = fused_bias_leakyrelu(*inputs, *arguments)
    torch.testing.assert_close(out, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    out.backward(golden.weights(out))
    for i, value in enumerate(inputs):
        torch.testing.assert_close(value.grad, golden(f"{name}.grad{i}"), rtol=1e-4, atol=1e-4)


def test_slope_and_scale_may_be_negative():
    x = normal(2, 3, 4).double().requires_grad_()
    bias = normal(3, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: fused_bias_leakyrelu(*a, -0.5, -2.0), (x, bias))


def test_module_starts_without_bias():
    module = FusedBiasLeakyReLU(3)
    x = normal(2, 3, 4, 4)
    torch.testing.assert_close(module(x), F.leaky_relu(x, 0.2) * math.sqrt(2))


@pytest.mark.parametrize(
    ("act", "function", "gain"),
    [
        ("linear", lambda x: x, 1),
        ("relu", lambda x: x.clamp(min=0), math.sqrt(2)),
        ("lrelu", lambda x: torch.maximum(x, 0.2 * x), math.sqrt(2)),
        ("tanh", lambda x: 2 / (1 + torch.exp(-2 * x)) - 1, 1),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x)), 1),
        ("softplus", lambda x: torch.log(1 + torch.exp(x)), 1),
        ("swish", lambda x: x / (1 + torch.exp(-x)), math.sqrt(2)),
    ],
)
def test_bias_then_activation_then_gain_then_clamp(act, function, gain):
    x, bias = normal(2, 3, 4).double(), normal(4, seed=1).double()
    ours = bias_act(x, bias, dim=2, act=act)
    torch.testing.assert_close(ours, gain * function(x + bias))
    clamped = bias_act(x, bias, dim=2, act=act, gain=3, clamp=0.5)
    torch.testing.assert_close(clamped, (3 * function(x + bias)).clamp(-0.5, 0.5))


def test_filtered_activation_is_the_sequence_of_its_steps():
    x, bias = (
        normal(1, 2, 6, 6).double().requires_grad_(),
        normal(2, seed=1).double().requires_grad_(),
    )
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8
    ours = filtered_lrelu(x, taps, taps, bias, 2, 2, (2, 1, 2, 1), clamp=1.0)
    fine = upfirdn2d(x + bias[:, None, None], taps, up=2, pad=(2, 1), gain=4)
    active = (F.leaky_relu(fine, 0.2) * math.sqrt(2)).clamp(-1, 1)
    torch.testing.assert_close(ours, upfirdn2d(active, taps, down=2))
    assert torch.autograd.gradcheck(
        lambda *a: filtered_lrelu(a[0], taps, taps, a[1], 2, 2, 2), (x, bias)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: upfirdn2d(torch.zeros(3, 4), torch.ones(2, 2)), r"\(N, C, H, W\)"),
        (lambda: upfirdn2d(normal(1, 1, 4, 4), torch.ones(2, 2), up=0), "up must be .* got 0"),
        (
            lambda: upfirdn2d(normal(1, 1, 4, 4), torch.ones(2, 2), pad=(1, 2, 3)),
            "one, two or four",
        ),
        (lambda: upfirdn2d(normal(1, 1, 2, 2), torch.ones(3, 3)), "too small"),
        (lambda: fused_bias_leakyrelu(normal(2, 3), torch.zeros(2)), r"shape \(3,\)"),
        (lambda: bias_act(normal(2, 3), act="gelu"), "got 'gelu'"),
    ],
)
def test_refused_input_says_what_was_expected(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
