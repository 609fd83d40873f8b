"""MM-256: switchable atrous convolution."""

import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from okulo_ops import SAConv2d


def by_recipe(module):
    """Fill the state as golden/mmcv does: from the name and shape of each entry."""
    for key, value in module.state_dict().items():
        random = np.random.default_rng(zlib.crc32(key.encode())).normal(size=tuple(value.shape))
        scale = math.sqrt(2 / math.prod(value.shape[1:])) if value.ndim > 1 else 0.01
        value.copy_(torch.from_numpy(random * scale))
    module.weight_gamma.fill_(1)
    module.weight_beta.zero_()
    return module


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("SAConv2d", {}),
        ("SAConv2d_deform", {"use_deform": True}),
        ("SAConv2d_stride2_groups2", {"stride": 2, "groups": 2}),
    ],
)
def test_recorded_numbers(golden_mmcv, case, settings):
    golden = golden_mmcv("ops_conv_attention")
    (entry,) = (e for e in golden.settings if e["name"] == f"module.{case}")
    module = by_recipe(SAConv2d(4, 6, 3, padding=1, **settings))
    assert [[k, list(v.shape), "float32"] for k, v in module.state_dict().items()] == entry["state"]
    x = golden(f"module.{case}.in0").requires_grad_()
    result = module(x)
    torch.testing.assert_close(result, golden(f"module.{case}.out"), rtol=1e-4, atol=1e-5)
    (grad,) = torch.autograd.grad(result, x, golden.weights(result))
    torch.testing.assert_close(grad, golden(f"module.{case}.grad0"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_deform", [False, True])
def test_starts_as_a_standardised_convolution(use_deform):
    module = SAConv2d(2, 3, 3, padding=1, use_deform=use_deform)
    x = torch.randn(1, 2, 6, 5)
    standard = torch.stack([(w - w.mean()) / (w.var() + 1e-5).sqrt() for w in module.weight])
    torch.testing.assert_close(module(x), F.conv2d(x, standard, padding=1), rtol=1e-4, atol=1e-5)


def test_forward_changes_no_attribute_and_compiles_to_one_graph():
    module = SAConv2d(2, 3, 3, padding=1, use_deform=True)
    before = (module.padding, module.dilation)
    x = torch.randn(1, 2, 6, 5)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), module(x))
    assert (module.padding, module.dilation) == before


def test_weights_of_a_plain_convolution_keep_their_function():
    plain = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False))
    module = nn.Sequential(SAConv2d(2, 3, 3, padding=1, bias=False))
    keys = module.load_state_dict(plain.state_dict(), strict=False)
    assert not any("gamma" in key or "beta" in key for key in keys.missing_keys)
    x = torch.randn(1, 2, 6, 5)
    torch.testing.assert_close(module(x), plain(x))


def test_own_state_is_loaded_as_it_is():
    one, other = SAConv2d(2, 3, 3), SAConv2d(2, 3, 3)
    other.weight_gamma.fill_(2)
    one.load_state_dict(other.state_dict())
    assert torch.equal(one.weight_gamma, torch.full((3, 1, 1, 1), 2.0))


def test_offsets_need_three_taps():
    with pytest.raises(ValueError, match=r"3 x 3 kernel, got \(1, 1\)"):
        SAConv2d(2, 3, 1, use_deform=True)
