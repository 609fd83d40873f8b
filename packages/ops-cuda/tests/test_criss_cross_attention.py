"""MM-251: criss-cross attention."""

import zlib

import numpy as np
import pytest
import torch

from okulo_ops import CrissCrossAttention, ca_map, ca_weight


def sample(channels=3, size=(4, 5), batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)


def neighbours(y, x, height, width):
    return [(y, j) for j in range(width)] + [(i, x) for i in range(height) if i != y]


@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 1)])
def test_weights_and_sums_follow_row_then_column(size):
    query, key, value = sample(size=size), sample(size=size).flip(1), sample(2, size)
    weight = ca_weight(query, key)
    total = ca_map(weight, value)
    assert weight.shape == (2, sum(size) - 1, *size)
    for y, x in np.ndindex(*size):
        expected = torch.zeros(2, 2, dtype=torch.float64)
        for k, (i, j) in enumerate(neighbours(y, x, *size)):
            product = (query[:, :, y, x] * key[:, :, i, j]).sum(1)
            torch.testing.assert_close(weight[:, k, y, x], product)
            expected += product[:, None] * value[:, :, i, j]
        torch.testing.assert_close(total[:, :, y, x], expected)


def test_derivatives_are_right():
    query, key, value = (sample(2, (2, 3), 1).requires_grad_() for _ in range(3))
    assert torch.autograd.gradcheck(ca_weight, (query, key))
    weight = ca_weight(query, key).detach().requires_grad_()
    assert torch.autograd.gradcheck(ca_map, (weight, value))


def test_layer_is_softmax_attention_to_row_and_column():
    layer = CrissCrossAttention(8).double()
    layer.gamma.scale.data.fill_(0.7)
    x = sample(8)
    weight = ca_weight(layer.query_conv(x), layer.key_conv(x)).softmax(1)
    expected = 0.7 * ca_map(weight, layer.value_conv(x)) + x
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.shared
def test_layer_gives_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_conv_attention")
    layer = CrissCrossAttention(16)
    for key, tensor in layer.state_dict().items():  # the recorded weights follow from their names
        draw = np.random.default_rng(zlib.crc32(key.encode())).normal(size=tuple(tensor.shape))
        scale = 0.01 if tensor.ndim < 2 else np.sqrt(2 / tensor.shape[1])
        tensor.copy_(torch.as_tensor(draw * scale))
    layer.gamma.scale.data.fill_(0.7)
    x = golden("CrissCrossAttention.in0").requires_grad_()
    output = layer(x)
    torch.testing.assert_close(output, golden("CrissCrossAttention.out"), rtol=1e-5, atol=1e-5)
    output.backward(golden.weights(output))
    torch.testing.assert_close(x.grad, golden("CrissCrossAttention.grad0"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_works(device, dtype):
    """mmcv's kernels refuse it."""
    layer = CrissCrossAttention(8).to(device, dtype)
    layer.gamma.scale.data.fill_(0.5)
    x = sample(8).to(device, dtype).requires_grad_()
    output = layer(x)
    output.sum().backward()
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), layer.double()(x.double()), rtol=0.05, atol=0.05)
    assert x.grad.isfinite().all()


def test_layer_starts_as_identity_and_takes_no_images():
    layer = CrissCrossAttention(8)
    x = torch.randn(2, 8, 3, 4)
    assert torch.equal(layer(x), x)
    assert layer(x[:0]).shape == (0, 8, 3, 4)


def test_layer_compiles_to_one_graph():
    layer, x = CrissCrossAttention(8), torch.randn(2, 8, 3, 4)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_refused_input_says_what_was_expected():
    with pytest.raises(ValueError, match="in_channels must be at least 8, got 4"):
        CrissCrossAttention(4)
    with pytest.raises(ValueError, match=r"key must have shape \(2, 3, 4, 5\), got"):
        ca_weight(sample(), sample(2))
    with pytest.raises(ValueError, match=r"weight must have shape \(2, 8, 4, 5\), got"):
        ca_map(sample(7), sample())
