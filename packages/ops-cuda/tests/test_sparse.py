"""Sparse convolution (section 19 of the inventory) against dense convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from okulo_ops.sparse import (
    SparseConv2d,
    SparseConv3d,
    SparseConvTensor,
    SparseConvTranspose2d,
    SparseInverseConv2d,
    SparseMaxPool2d,
    SparseSequential,
    SubMConv2d,
    SubMConv3d,
    scatter_nd,
)


def sample(shape=(7, 6), channels=3, batch=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(batch, *shape, generator=generator) < 0.3
    indices = occupied.nonzero().int()
    indices = indices[torch.randperm(len(indices), generator=generator)]
    features = torch.randn(len(indices), channels, generator=generator, dtype=dtype)
    return SparseConvTensor(features, indices, shape, batch)


def occupied(tensor):
    return tensor.replace(torch.ones_like(tensor.features[:, :1])).dense()


def dense_weight(layer):
    return layer.weight.movedim((-1, -2), (0, 1))


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_from_definition")
    input = SparseConvTensor(golden("sparse.features"), golden("sparse.indices_bzyx"), (6, 7, 8), 2)
    weight = golden("sparse.weight_out_in_zyx").movedim((0, 1), (-1, -2))
    for layer, key in (
        (SubMConv3d(3, 5, 3, bias=False), "subm_k3"),
        (SparseConv3d(3, 5, 3, 2, 1, bias=False), "conv_k3_s2_p1"),
    ):
        layer.weight = nn.Parameter(weight)
        output = layer(input)
        expected = golden(f"sparse.{key}_dense").double()
        torch.testing.assert_close(output.dense(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(occupied(output) > 0, golden("sparse.conv_k3_s2_p1_active"))


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (2, (2, 1), 2)])
def test_convolution_is_dense_where_its_window_meets_a_place(stride, padding, dilation, device):
    input = sample()
    layer = SparseConv2d(3, 4, 3, stride, padding, dilation, bias=False).double()
    expected = F.conv2d(input.dense(), dense_weight(layer), None, stride, padding, dilation)
    window = F.conv2d(
        occupied(input), torch.ones(1, 1, 3, 3).double(), None, stride, padding, dilation
    )
    moved = SparseConvTensor(input.features.to(device), input.indices.to(device), (7, 6), 2)
    output = layer.to(device)(moved)
    torch.testing.assert_close(output.dense().cpu(), expected)
    assert torch.equal(occupied(output).cpu() > 0, window > 0)


def test_transposed_convolution_is_dense():
    input = sample()
    layer = SparseConvTranspose2d(3, 4, 3, 2, 1, bias=False).double()
    weight = layer.weight.movedim((-2, -1), (0, 1))
    expected = F.conv_transpose2d(input.dense(), weight, None, 2, 1)
    torch.testing.assert_close(layer(input).dense(), expected)


def test_submanifold_convolution_keeps_places_and_their_order():
    input = sample()
    layer = SubMConv2d(3, 4, (3, 5), dilation=(1, 2)).double()
    output = layer(input)
    assert torch.equal(output.indices, input.indices)
    whole = F.conv2d(input.dense(), dense_weight(layer), layer.bias, 1, (1, 4), (1, 2))
    torch.testing.assert_close(output.dense(), whole * occupied(input))


def test_inverse_convolution_returns_to_the_places_it_came_from():
    input = sample()
    down = SparseConv2d(3, 4, 3, 2, 1, bias=False, indice_key="down").double()
    up = SparseInverseConv2d(4, 5, 3, "down", bias=False).double()
    middle = down(input)
    output = up(middle)
    assert torch.equal(output.indices, input.indices)
    weight = up.weight.movedim((-2, -1), (0, 1))
    whole = F.conv_transpose2d(middle.dense(), weight, None, 2, 1, output_padding=(0, 1))
    torch.testing.assert_close(output.dense(), whole * occupied(input))


def test_pooling_is_over_occupied_places_only():
    input = sample()
    output = SparseMaxPool2d(2, 2)(input)
    empty = torch.where(occupied(input) > 0, input.dense(), -torch.inf)
    expected = F.max_pool2d(empty, 2, 2)
    torch.testing.assert_close(output.dense(), torch.where(expected.isinf(), 0, expected))


@pytest.mark.parametrize("layer", [SparseConv2d(2, 2, 3, 2, 1), SubMConv2d(2, 2, 3)])
def test_gradients_are_derivatives(layer):
    input = sample((4, 4), 2, 1)
    layer = layer.double()

    def function(features, weight):
        return torch.func.functional_call(
            layer, {"weight": weight}, (input.replace(features),)
        ).features

    leaves = input.features.requires_grad_(), layer.weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_added_up_in_float32(dtype):
    input = sample(dtype=torch.float32)
    layer = SubMConv2d(3, 4, 3)
    exact = layer(input).features
    half = layer.to(dtype)(input.replace(input.features.to(dtype))).features
    assert half.dtype == dtype
    assert (half.float() - exact).abs().max() <= 8 * torch.finfo(dtype).eps * exact.abs().max()


def test_no_places():
    input = SparseConvTensor(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32), (5, 5), 1)
    chain = SparseSequential(SubMConv2d(3, 4, 3), nn.BatchNorm1d(4), SparseConv2d(4, 2, 3))
    assert chain(input).features.shape == (0, 2)
    assert chain(input).dense().shape == (1, 2, 3, 3)


def test_chains_give_other_modules_the_features():
    input = sample(dtype=torch.float32)
    chain = SparseSequential(SubMConv2d(3, 4, 3, indice_key="a"), nn.ReLU())
    chain.add(SubMConv2d(4, 4, 3, indice_key="a"))
    expected = chain[2](chain[0](input).replace(chain[0](input).features.relu()))
    torch.testing.assert_close(chain(input).features, expected.features)
    assert len(chain) == 3


def test_rows_go_to_their_places():
    result = scatter_nd(torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1.0, 2], [3, 4]]), (2, 2, 2))
    assert result.tolist() == [[[0, 0], [3, 4]], [[1, 2], [0, 0]]]


def test_misuse_says_what_to_do():
    input = sample(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"indices must be integers of shape \(2, 3\)"):
        SparseConvTensor(torch.zeros(2, 1), torch.zeros(2, 4, dtype=torch.int32), (5, 5), 1)
    with pytest.raises(ValueError, match="no layer before this one has indice_key 'down'"):
        SparseInverseConv2d(3, 3, 3, "down")(input)
    layers = (kind(3, 3, 3, indice_key="a") for kind in (SparseConv2d, SubMConv2d))
    chain = SparseSequential(*layers)
    with pytest.raises(ValueError, match="other input places"):
        chain(input)
    with pytest.raises(ValueError, match="one group, got groups=3"):
        SubMConv2d(3, 3, 3, groups=3)
