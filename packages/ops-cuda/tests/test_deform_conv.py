"""MM-233, MM-234, MM-241, MM-242, D2-563, D2-564: deformable convolution, versions 1 and 2."""

import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import okulo_ops
from okulo_ops import (
    DeformConv,
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    deform_conv,
    deform_conv2d,
    modulated_deform_conv,
    modulated_deform_conv2d,
    upgrade_deform_conv_weights,
)

# Letters of the paper and of nn.Conv2d: o output channels, k kernel, g groups, dg deform_groups.
PLAIN = {"n": 2, "c": 4, "o": 6, "h": 5, "w": 4, "k": (3, 3), "g": 1, "dg": 1}
PLAIN |= {"s": (1, 1), "p": (1, 1), "d": (1, 1)}
MIXED = PLAIN | {"c": 6, "o": 4, "h": 6, "w": 5, "k": (2, 3), "g": 2, "dg": 3}
MIXED |= {"s": (2, 1), "p": (1, 0), "d": (1, 2)}


def size_of(case):
    """Pixels of the output."""
    axes = zip((case["h"], case["w"]), case["k"], case["s"], case["p"], case["d"], strict=True)
    return [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in axes]


def sample(case, dtype=torch.float32):
    """input, offset, mask, weight, bias; offsets reach out of the image."""
    generator = torch.Generator().manual_seed(0)
    taps = case["k"][0] * case["k"][1] * case["dg"]
    shapes = [
        (case["n"], case["c"], case["h"], case["w"]),
        (case["n"], 2 * taps, *size_of(case)),
        (case["n"], taps, *size_of(case)),
        (case["o"], case["c"] // case["g"], *case["k"]),
        (case["o"],),
    ]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def settings(case):
    return [list(case[name]) for name in "spd"] + [case["g"], case["dg"]]


def reference(x, offset, mask, weight, bias, case):
    """The sum over taps and channels, one sample after the other, in float64."""
    out_h, out_w = size_of(case)
    (kh, kw), group, deform = case["k"], case["c"] // case["g"], case["c"] // case["dg"]
    result = torch.zeros(case["n"], case["o"], out_h, out_w, dtype=torch.float64)
    for n, o, i, j in np.ndindex(*result.shape):
        total = 0.0 if bias is None else bias[o].item()
        for c, ky, kx in np.ndindex(group, kh, kw):
            channel = o // (case["o"] // case["g"]) * group + c
            tap = channel // deform * kh * kw + ky * kw + kx
            y = i * case["s"][0] - case["p"][0] + ky * case["d"][0]
            x_ = j * case["s"][1] - case["p"][1] + kx * case["d"][1]
            y += offset[n, 2 * tap, i, j].item()
            x_ += offset[n, 2 * tap + 1, i, j].item()
            value = 0.0
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x_), math.floor(x_) + 1):
                    if 0 <= row < case["h"] and 0 <= column < case["w"]:
                        near = (1 - abs(y - row)) * (1 - abs(x_ - column))
                        value += near * x[n, channel, row, column].item()
            factor = 1.0 if mask is None else mask[n, tap, i, j].item()
            total += factor * value * weight[o, c, ky, kx].item()
        result[n, o, i, j] = total
    return result


def test_contract(check_operator, device):
    tiny = PLAIN | {"n": 1, "c": 2, "o": 1, "h": 2, "w": 3, "k": (2, 2), "p": (0, 0)}
    x, offset, mask, weight, bias = sample(tiny)
    wrt = (0, 1, 2, 3, 4)
    args = (x, offset, mask, weight, bias, *settings(tiny))
    check_operator("deform_conv2d", args, wrt=wrt, device=device)


def test_contract_of_version_1_with_groups(check_operator, device):
    tiny = MIXED | {"n": 2, "c": 4, "o": 2, "h": 3, "w": 4, "dg": 2}
    x, offset, _, weight, _ = sample(tiny)
    args = (x, offset, None, weight, None, *settings(tiny))
    check_operator("deform_conv2d", args, wrt=(0, 1, 3), device=device, second=False)


def test_contract_of_an_empty_batch(check_operator, device):
    x, offset, mask, weight, bias = sample(PLAIN | {"n": 0})
    args = (x, offset, mask, weight, bias, *settings(PLAIN))
    check_operator("deform_conv2d", args, wrt=(0, 1, 2, 3, 4), device=device)


@pytest.mark.parametrize("case", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_sum_is_that_of_the_paper(case):
    x, offset, mask, weight, bias = sample(case, torch.float64)
    first = deform_conv2d(x, offset, weight, *settings(case))
    torch.testing.assert_close(first, reference(x, offset, None, weight, None, case))
    second = modulated_deform_conv2d(x, offset, mask, weight, bias, *settings(case))
    torch.testing.assert_close(second, reference(x, offset, mask, weight, bias, case))
    assert torch.equal(deform_conv(x, offset, weight, *settings(case)), first)
    assert torch.equal(
        modulated_deform_conv(x, offset, mask, weight, bias, *settings(case)), second
    )


def test_blocks_of_positions_join(device):
    """More output positions than one block holds, with borders of images inside blocks."""
    case = PLAIN | {"n": 3, "c": 64, "o": 8, "h": 19, "w": 17}
    args = [t.to(device).requires_grad_() for t in sample(case, torch.float64)]
    arguments = (*args, *settings(case))
    meaning = okulo_ops._operator.OPERATORS["deform_conv2d"]
    ours, eager = torch.ops.okulo.deform_conv2d(*arguments), meaning(*arguments)
    torch.testing.assert_close(ours, eager)
    grads = [torch.autograd.grad(y, args, torch.ones_like(y).cumsum(3)) for y in (ours, eager)]
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("case", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_agrees_with_torchvision(case):
    torchvision = pytest.importorskip("torchvision")
    ours, theirs = ([t.requires_grad_() for t in sample(case, torch.float64)] for _ in range(2))
    mine = modulated_deform_conv2d(*ours, *settings(case))
    x, offset, mask, weight, bias = theirs
    other = torchvision.ops.deform_conv2d(
        x, offset, weight, bias, case["s"], case["p"], case["d"], mask
    )
    torch.testing.assert_close(mine, other)
    slope = torch.randn_like(mine)
    for a, b in zip(
        torch.autograd.grad(mine, ours, slope),
        torch.autograd.grad(other, theirs, slope),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_without_offsets_it_is_a_convolution():
    x, offset, _, weight, _ = sample(MIXED, torch.float64)
    s, p, d, g, dg = settings(MIXED)
    ours = deform_conv2d(x, torch.zeros_like(offset), weight, s, p, d, g, dg)
    torch.testing.assert_close(ours, F.conv2d(x, weight, None, s, p, d, g))


def test_what_lies_outside_is_zero_even_beside_infinity(device):
    x = torch.full((1, 1, 2, 2), torch.inf, device=device)
    offset = torch.full((1, 2, 2, 2), 1e30, device=device)
    offset[0, 0, 0] = torch.nan
    offset[0, 0, 1] = -1e30
    weight = torch.ones(1, 1, 1, 1, device=device)
    args = [t.requires_grad_() for t in (x, offset)]
    result = deform_conv2d(*args, weight)
    assert torch.equal(result, torch.zeros_like(result))
    for grad in torch.autograd.grad(result.sum(), args):
        assert torch.equal(grad, torch.zeros_like(grad))


def test_a_sample_counts_less_than_one_pixel_away():
    x = torch.ones(1, 1, 1, 1)
    at = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    for y in at:
        offset = torch.stack((y, torch.tensor(0.0))).reshape(1, 2, 1, 1).requires_grad_()
        value = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1))
        assert value.item() == 1 - abs(y)
        slope = torch.autograd.grad(value, offset)[0][0, 0, 0, 0]
        assert slope == (0 if abs(y) == 1 else 1 if y < 0 else -1)


def test_autocast_computes_in_its_dtype():
    with torch.autocast("cpu", torch.bfloat16):
        x, offset, mask, weight, bias = sample(PLAIN)
        assert modulated_deform_conv2d(x, offset, mask, weight, bias, 1, 1).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input": torch.zeros(2, 4, 5)},
            r"input must have shape \(N, C_in, H, W\), got \(2, 4, 5\)",
        ),
        ({"input": torch.zeros(2, 4, 2, 2)}, "size 0 x 0.*too small.*pad it"),
        ({"offset": torch.zeros(2, 18, 5, 4)}, r"offset must have shape \(2, 18, 3, 2\)"),
        ({"mask": torch.zeros(2, 18, 3, 2)}, r"mask must have shape \(2, 9, 3, 2\)"),
        ({"weight": torch.zeros(6, 2, 3, 3)}, r"weight must have 4 input channels"),
        ({"bias": torch.zeros(4)}, r"bias must have shape \(6,\), one for each output channel"),
        ({"groups": 3}, "groups must divide the channels.*got 4 and 6 channels, groups=3"),
        ({"deform_groups": 3}, "deform_groups=3"),
        ({"groups": 0}, "at least 1, got 0 and 1"),
        ({"stride": 0}, r"stride, dilation and kernel must be at least 1, got 0, 1, \(3, 3\)"),
    ],
)
def test_refused_input_says_what_was_expected(change, message):
    names = ("input", "offset", "mask", "weight", "bias")
    arguments = dict(zip(names, sample(PLAIN | {"p": (0, 0)}), strict=True))
    with pytest.raises(ValueError, match=message):
        modulated_deform_conv2d(**(arguments | change))


@pytest.mark.parametrize("layer", [DeformConv2d, DeformConv])
def test_version_1_has_no_bias(layer):
    with pytest.raises(ValueError, match=r"no bias.*use Modulated"):
        layer(4, 6, 3, bias=True)
    with pytest.raises(ValueError, match="has no bias, got True"):
        deform_conv2d(*sample(PLAIN)[:2], torch.zeros(6, 4, 3, 3), padding=1, bias=True)


@pytest.mark.parametrize("layer", [DeformConv2d, ModulatedDeformConv])
def test_channels_must_divide_by_groups(layer):
    with pytest.raises(ValueError, match="in_channels=4, out_channels=6, groups=4"):
        layer(4, 6, 3, groups=4)


# Layers of mmcv


def test_starts_within_the_bound_of_all_input_channels():
    layer = ModulatedDeformConv2d(16, 64, 3, groups=4)
    bound = 1 / math.sqrt(16 * 9)
    assert layer.weight.shape == (64, 4, 3, 3)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert torch.equal(layer.bias, torch.zeros(64))


def test_packs_start_as_a_convolution():
    x = torch.randn(2, 4, 7, 6)
    first = DeformConv2dPack(4, 6, 3, padding=1, stride=2)
    torch.testing.assert_close(first(x), F.conv2d(x, first.weight, padding=1, stride=2))
    second = ModulatedDeformConv2dPack(4, 6, 3, padding=1, deform_groups=2)
    torch.testing.assert_close(second(x), 0.5 * F.conv2d(x, second.weight, padding=1))


def test_old_name_of_groups_warns():
    with pytest.warns(DeprecationWarning, match="deform_groups"):
        assert DeformConv2d(4, 6, 3, deformable_groups=2).deform_groups == 2


def test_input_smaller_than_the_kernel():
    layer = DeformConv2d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 2, 5)
    torch.testing.assert_close(
        layer(x, torch.zeros(1, 18, 2, 5)), F.conv2d(x, layer.weight, padding=1)
    )
    unpadded = DeformConv2d(2, 3, 3)
    assert unpadded(x, torch.zeros(1, 18, 0, 3)).shape == (1, 3, 0, 3)


def test_state_before_version_2_is_renamed():
    model = nn.Sequential()
    model.add_module("dcn", ModulatedDeformConv2dPack(2, 2, 1))
    old = {
        key.replace("dcn.conv_offset.", "dcn_offset."): torch.ones_like(value)
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(upgrade_deform_conv_weights(model, old))
    assert torch.equal(model.dcn.conv_offset.weight, torch.ones(3, 2, 1, 1))


def test_offsets_keep_their_precision_beside_features_in_half(device):
    row = torch.tensor([0.0, 0.0, 2048.0, 0.0], dtype=torch.float16, device=device)
    offset = torch.zeros(1, 2, 1, 4, device=device)
    offset[0, 1, 0, 0] = 1 + 2**-12  # float16 has no number there
    one = row.new_ones(1, 1, 1, 1)
    assert deform_conv2d(row[None, None, None], offset, one)[0, 0, 0].tolist() == [0.5, 0, 2048, 0]


def test_a_pack_that_is_handed_the_whole_state_renames_it():
    pack = DeformConv2dPack(2, 2, 1)
    assert pack.state_dict()._metadata[""]["version"] == 2
    old = {"a.dcn.weight": pack.weight, "a.dcn_offset.weight": torch.ones(2, 2, 1, 1)}
    old["a.dcn_offset.bias"] = torch.ones(2)
    missing = []
    pack._load_from_state_dict(old, "a.dcn.", {}, True, missing, [], [])
    pack.conv_offset._load_from_state_dict(old, "a.dcn.conv_offset.", {}, True, missing, [], [])
    assert not missing
    assert torch.equal(pack.conv_offset.bias, torch.ones(2))


def test_numbers_of_the_documentation():
    layer = DeformConv2dPack(1, 1, 2)
    filters = ".1 .4 .6 .1 .3 .2 .1 .3 .5 .5 .2 .8 .8 .3 .9 .1 .3 .1 .2 .5 .3 .7 .5 .3 .6 .2 .5 .3 "
    filters = torch.tensor([float(v) for v in (filters + ".4 .1 .8 .4").split()])
    with torch.no_grad():
        layer.conv_offset.weight.copy_(filters.reshape(8, 1, 2, 2))
        layer.conv_offset.bias.copy_(torch.tensor([0.7, 0.1, 0.8, 0.5, 0.6, 0.5, 0.4, 0.7]))
        layer.weight.copy_(torch.tensor([[[[0.4, 0.2], [0.1, 0.9]]]]))
    x = torch.tensor([[[[1.0, 2, 3], [0, 1, 2], [3, 5, 2]]]], requires_grad=True)
    result = layer(x)
    result.sum().backward()
    torch.testing.assert_close(result[0, 0], torch.tensor([[1.65, 0], [0, 0]]))
    by_x = torch.tensor([[-0.666, 0.204, 0], [0.030, -0.416, 0.012], [0, 0.252, 0.129]])
    torch.testing.assert_close(x.grad[0, 0], by_x, rtol=0, atol=1e-3)
    by_weight = torch.tensor([[3.62, 0], [0.40, 0.18]])
    torch.testing.assert_close(layer.weight.grad[0, 0], by_weight, rtol=0, atol=5e-3)


# Layers of detectron2


def test_norm_then_activation():
    x, offset, mask, *_ = sample(PLAIN)
    norm = nn.BatchNorm2d(6)
    layer = ModulatedDeformConv(4, 6, 3, padding=1, norm=norm, activation=torch.relu)
    plain = modulated_deform_conv2d(x, offset, mask, layer.weight, layer.bias, 1, 1)
    torch.testing.assert_close(layer(x, offset, mask), torch.relu(norm(plain)))


def test_empty_batch_stays_on_the_graph_and_out_of_the_statistics():
    layer = DeformConv(4, 6, 3, padding=1, norm=nn.BatchNorm2d(6), activation=torch.relu)
    result = layer(torch.zeros(0, 4, 5, 4), torch.zeros(0, 18, 5, 4))
    assert result.shape == (0, 6, 5, 4)
    result.sum().backward()
    assert torch.equal(layer.weight.grad, torch.zeros_like(layer.weight))
    assert layer.norm.num_batches_tracked == 0


def test_starts_kaiming_uniform():
    layer = DeformConv(16, 64, 3, groups=2)
    assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (8 * 9)), rel=0.01)


# Recorded numbers


@pytest.mark.shared
@pytest.mark.parametrize("case", ["k3", "k3_s2_d2", "k3_g2"])
def test_recorded_numbers_of_detectron2(golden, case):
    for version in ("deform_conv", "modulated_deform_conv"):
        name = f"{version}/{case}"
        s = golden.settings[name]
        names = (
            ("x", "offset", "weight")
            if version == "deform_conv"
            else ("x", "offset", "mask", "weight", "bias")
        )
        inputs = [golden(f"{name}/in/{k}").requires_grad_() for k in names]
        function = getattr(okulo_ops, version)
        result = function(
            *inputs, s["stride"], s["padding"], s["dilation"], s["groups"], s["deformable_groups"]
        )
        torch.testing.assert_close(result, golden(f"{name}/out/y"), rtol=1e-4, atol=1e-5)
        slope = torch.arange(result.numel()).cos().reshape(result.shape)
        grads = torch.autograd.grad(result, inputs, slope)
        for key, grad in zip(names, grads, strict=True):
            expected = golden(f"{name}/out/grad_{key}")
            torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-4)


# stride, padding, dilation, groups, deform_groups
RECORDED = {
    "a": (1, 1, 1, 1, 1),
    "b": (2, 1, 1, 2, 2),
    "c": (1, 2, 2, 1, 4),
    "d": (1, 0, 1, 1, 1),
    "e": (1, 0, 1, 4, 1),
}


@pytest.mark.shared
@pytest.mark.parametrize("case", RECORDED)
@pytest.mark.parametrize("version", ["deform_conv2d", "modulated_deform_conv2d"])
def test_recorded_numbers_of_mmcv(golden_mmcv, version, case):
    golden = golden_mmcv("ops_conv_attention")
    name = f"{version}.{case}"
    count = 3 if version == "deform_conv2d" else 5
    inputs = [golden(f"{name}.in{i}").requires_grad_() for i in range(count)]
    result = getattr(okulo_ops, version)(*inputs, *RECORDED[case])
    torch.testing.assert_close(result, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    for i, grad in enumerate(torch.autograd.grad(result, inputs, golden.weights(result))):
        torch.testing.assert_close(grad, golden(f"{name}.grad{i}"), rtol=1e-4, atol=1e-4)


def by_recipe(module):
    """Fill the state as golden/mmcv does: from the name and shape of each entry."""
    with torch.no_grad():
        for key, value in module.state_dict().items():
            random = np.random.default_rng(zlib.crc32(key.encode())).normal(size=tuple(value.shape))
            scale = math.sqrt(2 / math.prod(value.shape[1:])) if value.ndim > 1 else 0.01
            value.copy_(torch.from_numpy(random * scale))
    return module


@pytest.mark.shared
@pytest.mark.parametrize("layer", [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_recorded_numbers_of_packs(golden_mmcv, layer):
    golden = golden_mmcv("ops_conv_attention")
    name = f"module.{layer.__name__}"
    (entry,) = (e for e in golden.settings if e["name"] == name)
    module = by_recipe(layer(4, 6, 3, padding=1, deform_groups=2))
    assert [[k, list(v.shape), "float32"] for k, v in module.state_dict().items()] == entry["state"]
    x = golden(f"{name}.in0").requires_grad_()
    result = module(x)
    torch.testing.assert_close(result, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    (grad,) = torch.autograd.grad(result, x, golden.weights(result))
    torch.testing.assert_close(grad, golden(f"{name}.grad0"), rtol=1e-4, atol=1e-4)
