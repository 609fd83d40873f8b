"""MM-240: convolution at chosen pixels."""

import pytest
import torch
import torch.nn.functional as F

from okulo_ops import MaskedConv2d, masked_conv2d


def sample(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 5, 4), (2, 5, 4), (4, 3, 3, 3), (4,)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def test_contract(check_operator, device):
    x, mask, weight, bias = sample()
    tiny = x[:1, :2, :2, :3], mask[:1, :2, :3], weight[:1, :2], bias[:1]
    check_operator("masked_conv2d", (*tiny, [1, 1], [1, 1]), wrt=(0, 2, 3), device=device)


def test_contract_without_images(check_operator, device):
    x, mask, weight, _ = sample()
    args = x[:0], mask[:0, :3, :2], weight, None, [0, 0], [1, 1]
    check_operator("masked_conv2d", args, device=device)


@pytest.mark.parametrize("dilation", [1, 2])
def test_dense_where_wanted_and_zero_elsewhere(dilation):
    x, mask, weight, bias = sample(torch.float64)
    ours = masked_conv2d(x, mask, weight, bias, padding=dilation, dilation=dilation)
    dense = F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    for image, flags, all_of_it in zip(ours, mask, dense, strict=True):
        for y in range(5):
            for x_ in range(4):
                want = all_of_it[:, y, x_] if flags[y, x_] > 0 else torch.zeros(4).double()
                torch.testing.assert_close(image[:, y, x_], want)


def test_nothing_wanted():
    x, mask, weight, bias = sample()
    result = masked_conv2d(x, torch.zeros_like(mask), weight, bias, padding=1)
    assert torch.equal(result, torch.zeros(2, 4, 5, 4))


def test_flags_may_be_booleans():
    x, mask, weight, bias = sample()
    ours = masked_conv2d(x, mask > 0, weight, bias, padding=1)
    assert torch.equal(ours, masked_conv2d(x, mask, weight, bias, padding=1))


def test_layer_without_mask_is_a_convolution():
    x, mask, *_ = sample()
    layer = MaskedConv2d(3, 4, 3, padding=1)
    dense = F.conv2d(x, layer.weight, layer.bias, padding=1)
    assert torch.equal(layer(x), dense)
    torch.testing.assert_close(layer(x, mask), dense * (mask > 0)[:, None])
    no_bias = MaskedConv2d(3, 4, 3, padding=1, bias=False)
    assert no_bias(x, mask).shape == (2, 4, 5, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 2}, "stride 1 only, got 2"),
        ({"mask": torch.ones(2, 5, 5)}, r"mask must have shape \(2, 3, 2\).*got \(2, 5, 5\)"),
        ({"weight": torch.ones(4, 2, 3, 3)}, "weight must have 3 input channels"),
        ({"weight": torch.ones(4, 3, 0, 3)}, "and taps, got shape"),
        ({"bias": torch.ones(3)}, r"bias must have shape \(4,\), got \(3,\)"),
        ({"features": torch.ones(3, 5, 4)}, r"features must have shape \(N, C_in, H, W\)"),
    ],
)
def test_refused_input_says_what_was_expected(change, message):
    x, mask, weight, bias = sample()
    arguments = {"features": x, "mask": mask[:, :3, :2], "weight": weight, "bias": bias}
    with pytest.raises(ValueError, match=message):
        masked_conv2d(**(arguments | change))


def test_groups_are_refused_with_a_mask():
    with pytest.raises(ValueError, match="groups=1, got 2"):
        MaskedConv2d(4, 4, 1, groups=2)(torch.ones(1, 4, 2, 2), torch.ones(1, 2, 2))


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    inputs = [golden(f"masked_conv2d.in{i}") for i in range(4)]
    result = masked_conv2d(*inputs, padding=1)
    torch.testing.assert_close(result.double(), golden("masked_conv2d.out"), rtol=1e-4, atol=1e-5)
