"""MM-229 to MM-231: content-aware reassembly of features."""

import math
import zlib

import numpy as np
import pytest
import torch

from okulo_ops import CARAFE, CARAFENaive, CARAFEPack, carafe, carafe_naive


def sample(batch=2, channels=4, size=(3, 2), kernel=3, groups=2, scale=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    height, width = size
    features = torch.randn(batch, channels, height, width, generator=generator, dtype=dtype)
    shape = (batch, kernel**2 * groups, height * scale, width * scale)
    return features, torch.randn(shape, generator=generator, dtype=dtype), kernel, groups, scale


def reference(features, masks, kernel, groups, scale):
    """Eq. 3 entry by entry in float64."""
    batch, channels, height, width = features.shape
    out = torch.zeros(batch, channels, height * scale, width * scale, dtype=torch.float64)
    for n, c, y, x in np.ndindex(*out.shape):
        group = c // (channels // groups)
        for i, j in np.ndindex(kernel, kernel):
            h, w = y // scale + i - kernel // 2, x // scale + j - kernel // 2
            if 0 <= h < height and 0 <= w < width:
                mask = masks[n, (group * kernel + i) * kernel + j, y, x]
                out[n, c, y, x] += features[n, c, h, w].double() * mask.double()
    return out


def test_contract(check_operator, device):
    args = sample(batch=1, channels=2, size=(1, 2))
    check_operator("carafe", args, wrt=(0, 1), device=device)


def test_contract_without_images(check_operator, device):
    check_operator("carafe", sample(batch=0), wrt=(0, 1), device=device)


@pytest.mark.parametrize(
    ("kernel", "groups", "scale"), [(1, 1, 1), (3, 4, 1), (5, 1, 2), (7, 2, 3), (9, 1, 2)]
)
def test_pixels_are_weighted_windows(device, kernel, groups, scale):
    args = sample(kernel=kernel, groups=groups, scale=scale, dtype=torch.float64)
    features, masks = (t.to(device) for t in args[:2])
    expected = reference(*args)
    torch.testing.assert_close(carafe(features, masks, kernel, groups, scale).cpu(), expected)
    layer = CARAFE(kernel, groups, scale)
    torch.testing.assert_close(layer(features, masks).cpu(), expected)


def test_naive_names_are_the_same():
    args = sample()
    assert torch.equal(carafe_naive(*args), carafe(*args))
    assert torch.equal(CARAFENaive(*args[2:])(*args[:2]), carafe(*args))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "settings"), [("a", (5, 1, 2)), ("b", (3, 3, 2)), ("c", (3, 2, 3))]
)
def test_recorded_numbers(golden_mmcv, case, settings):
    golden = golden_mmcv("ops_from_definition")
    features, masks = (golden(f"carafe.{case}.in{i}").requires_grad_() for i in range(2))
    output = carafe(features, masks, *settings)
    torch.testing.assert_close(output.double(), golden(f"carafe.{case}.out"), rtol=1e-5, atol=1e-5)
    output.backward(golden.weights(output))
    for i, tensor in enumerate((features, masks)):
        expected = golden(f"carafe.{case}.grad{i}")
        torch.testing.assert_close(tensor.grad.double(), expected, rtol=1e-4, atol=1e-5)


def fill_by_recipe(module):
    """The weights that the recorded numbers were made with: they follow from the names."""
    for key, tensor in module.state_dict().items():
        draw = np.random.default_rng(zlib.crc32(key.encode())).normal(size=tuple(tensor.shape))
        scale = 0.01 if key.endswith("bias") else math.sqrt(2 / tensor[0].numel())
        tensor.copy_(torch.as_tensor((draw * scale).astype(np.float32)))


@pytest.mark.shared
def test_layer_gives_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    layer = CARAFEPack(6, 2, up_kernel=5, up_group=2, encoder_kernel=3, compressed_channels=4)
    fill_by_recipe(layer)
    x = golden("CARAFEPack.in0").requires_grad_()
    output = layer(x)
    torch.testing.assert_close(output.double(), golden("CARAFEPack.out"), rtol=1e-4, atol=1e-5)
    output.backward(golden.weights(output))
    torch.testing.assert_close(x.grad.double(), golden("CARAFEPack.grad0"), rtol=1e-4, atol=1e-4)


def test_layer_starts_almost_as_a_mean_of_the_window():
    layer = CARAFEPack(8, 2)
    x = torch.ones(1, 8, 9, 9)
    assert layer.content_encoder.weight.std().item() == pytest.approx(0.001, rel=0.1)
    torch.testing.assert_close(layer(x)[..., 6:12, 6:12], torch.ones(1, 8, 6, 6))


def test_layer_runs_in_an_autocast_region():
    layer, x = CARAFEPack(8, 2), torch.randn(1, 8, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    out.sum().backward()
    assert out.dtype == x.dtype
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.zeros(4, 3, 2)}, r"features must have shape \(N, C, H, W\), got \(4, 3, 2\)"),
        ({1: torch.zeros(2, 18, 6, 5)}, r"masks must have shape \(2, 18, 6, 4\), got"),
        ({2: 4}, "kernel_size must be odd and positive, got 4"),
        ({3: 3}, "group_size must divide the channels of features, got 3 and 4"),
        ({4: 0}, "must be positive, got 2 and 0"),
    ],
)
def test_refused_input_says_what_was_expected(change, message):
    args = [change.get(i, arg) for i, arg in enumerate(sample())]
    with pytest.raises(ValueError, match=message):
        carafe(*args)
