"""MM-266: multi-scale deformable attention, the operator and the layer."""

import math
import zlib

import numpy as np
import pytest
import torch

from okulo_ops import MultiScaleDeformableAttention, ms_deform_attn
from okulo_ops._library import missing

SHAPES = torch.tensor([[3, 4], [2, 2]])
STARTS = torch.tensor([0, 12])


def sample(batch=2, queries=3, heads=2, width=3, points=2, spread=1.4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)

    value = 2 * random(batch, 16, heads, width) - 1
    locations = spread * random(batch, queries, heads, 2, points, 2) - (spread - 1) / 2
    return value, SHAPES, STARTS, locations, random(batch, queries, heads, 2, points)


def reference(value, shapes, starts, locations, weights):
    """Eq. 3 point by point; a value falls off linearly to zero at the distance of one cell."""
    batch, queries, heads, levels, points, _ = locations.shape
    out = torch.zeros(batch, queries, heads, value.shape[-1], dtype=torch.float64)
    for b, q, m, level, p in np.ndindex(batch, queries, heads, levels, points):
        height, width = shapes[level].tolist()
        x = locations[b, q, m, level, p, 0].item() * width - 0.5
        y = locations[b, q, m, level, p, 1].item() * height - 0.5
        for i, j in np.ndindex(height, width):
            share = max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
            cell = value[b, starts[level] + i * width + j, m].double()
            out[b, q, m] += weights[b, q, m, level, p].item() * share * cell
    return out.flatten(2)


def test_contract(check_operator, device):
    args = sample(batch=2, queries=2)
    check_operator("ms_deform_attn", args, wrt=(0, 3, 4), device=device, second=False)


@pytest.mark.parametrize("sizes", [{"queries": 0}, {"batch": 0}, {"points": 0}])
def test_contract_without_points(check_operator, device, sizes):
    args = sample(**sizes)
    check_operator("ms_deform_attn", args, wrt=(0, 3, 4), device=device, second=False)


@pytest.mark.parametrize("width", [3, 40])
def test_values_are_interpolated_and_zero_outside(device, width):
    args = sample(width=width, dtype=torch.float64)
    ours = ms_deform_attn(*(t.to(device) for t in args))
    torch.testing.assert_close(ours.cpu(), reference(*args))


@pytest.mark.shared
def test_recorded_numbers(golden_mmcv):
    golden = golden_mmcv("ops_conv_attention")
    inputs = [golden(f"ms_deform_attn.in{i}").requires_grad_() for i in range(3)]
    shapes = golden("msda.spatial_shapes")
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    output = ms_deform_attn(inputs[0], shapes, starts, inputs[1], inputs[2], im2col_step=2)
    torch.testing.assert_close(output, golden("ms_deform_attn.out"), rtol=1e-5, atol=1e-5)
    output.backward(golden.weights(output))
    for i, tensor in enumerate(inputs):
        expected = golden(f"ms_deform_attn.grad{i}")
        torch.testing.assert_close(tensor.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(bool(missing["cpu"]), reason="the kernels promise it, not PyTorch")
def test_points_far_outside_or_nowhere_read_zero(device):
    value, shapes, starts, locations, weights = (t.to(device) for t in sample())
    locations = torch.full_like(locations, 1e30)
    locations[0] = -1e30
    locations[1, 0] = math.inf
    locations[1, 1] = math.nan
    value, weights = value.requires_grad_(), weights.requires_grad_()
    output = torch.ops.okulo.ms_deform_attn(value, shapes, starts, locations, weights)
    output.sum().backward()
    assert not output.any()
    assert not value.grad.any()
    assert not weights.grad.any()


def test_locations_stay_exact_beside_bfloat16_values(device):
    value, shapes, starts, locations, weights = (t.to(device) for t in sample())
    half = value.bfloat16()
    ours = ms_deform_attn(half, shapes, starts, locations, weights)
    assert ours.dtype == torch.bfloat16
    exact = ms_deform_attn(half.double(), shapes, starts, locations.double(), weights.double())
    torch.testing.assert_close(ours, exact.bfloat16(), rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: torch.zeros(2, 16, 6)}, ValueError, r"value must have shape \(B, S, M, D\)"),
        ({1: SHAPES[:1]}, ValueError, r"value_spatial_shapes must .* got \(1, 2\) and \(2,\)"),
        ({2: STARTS[:1]}, ValueError, r"value_level_start_index \(L,\), got \(2, 2\) and \(1,\)"),
        ({4: torch.zeros(2, 3, 2, 2, 1)}, ValueError, "attention_weights must have shape"),
        ({1: SHAPES * 9}, RuntimeError, "level 0 of size 27 x 36 from cell 0 does not fit"),
        ({2: STARTS - 1}, RuntimeError, "level 0 of size 3 x 4 from cell -1 does not fit"),
    ],
)
def test_refused_input_says_what_was_expected(change, error, message):
    args = [change.get(i, arg) for i, arg in enumerate(sample())]
    with pytest.raises(error, match=message):
        ms_deform_attn(*args)


def fill_by_recipe(module):
    """The weights that the recorded numbers were made with: they follow from the names."""
    for key, tensor in module.state_dict().items():
        draw = np.random.default_rng(zlib.crc32(key.encode())).normal(size=tuple(tensor.shape))
        scale = 0.01 if key.endswith("bias") else math.sqrt(2 / tensor.shape[1])
        tensor.copy_(torch.as_tensor(draw * scale))


@pytest.mark.shared
@pytest.mark.parametrize("reference", ["ref2", "ref4"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_layer_gives_recorded_numbers(golden_mmcv, reference, batch_first):
    golden = golden_mmcv("ops_conv_attention")
    name = f"MultiScaleDeformableAttention.{reference}"
    layer = MultiScaleDeformableAttention(16, 4, 3, 2, dropout=0.0, batch_first=batch_first)
    fill_by_recipe(layer)
    query, value, points, pos, padding = (golden(f"{name}.in{i}") for i in range(5))
    query.requires_grad_(), value.requires_grad_()
    shapes = golden("msda.spatial_shapes")

    def order(t):
        return t if batch_first else t.transpose(0, 1)

    output = layer(
        order(query),
        value=order(value),
        query_pos=order(pos),
        key_padding_mask=padding,
        reference_points=points,
        spatial_shapes=shapes,
        level_start_index=shapes.prod(1).cumsum(0) - shapes.prod(1),
    )
    output = order(output)
    torch.testing.assert_close(output, golden(f"{name}.out"), rtol=1e-5, atol=1e-5)
    output.backward(golden.weights(output))
    for i, tensor in enumerate((query, value)):
        torch.testing.assert_close(tensor.grad, golden(f"{name}.grad{i}"), rtol=1e-4, atol=1e-4)


@pytest.mark.shared
def test_layer_starts_with_recorded_offsets(golden_mmcv):
    golden = golden_mmcv("ops_conv_attention")
    layer = MultiScaleDeformableAttention(16, 4, 3, 2)
    torch.testing.assert_close(layer.sampling_offsets.bias, golden("msda_init.offset_bias"))
    for weight in (layer.sampling_offsets.weight, layer.attention_weights.weight):
        assert not weight.any()


def test_layer_narrows_the_value():
    layer = MultiScaleDeformableAttention(8, 2, 2, 1, batch_first=True, value_proj_ratio=0.5)
    assert layer.value_proj.weight.shape == (4, 8)
    cells = torch.rand(1, 16, 8)
    points = torch.rand(1, 16, 2, 2)
    levels = {"spatial_shapes": SHAPES, "level_start_index": STARTS}
    assert layer(cells, reference_points=points, **levels).shape == (1, 16, 8)


def test_layer_compiles_to_one_graph():
    layer = MultiScaleDeformableAttention(8, 2, 2, 1, dropout=0.0, batch_first=True)
    args = {"reference_points": torch.rand(1, 16, 2, 2), "spatial_shapes": SHAPES}
    args |= {"level_start_index": STARTS}
    cells = torch.rand(1, 16, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(cells, **args), layer(cells, **args))


def test_layer_runs_in_an_autocast_region():
    layer = MultiScaleDeformableAttention(8, 2, 2, 1, batch_first=True)
    cells, points = torch.rand(1, 16, 8), torch.rand(1, 16, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(cells, reference_points=points, spatial_shapes=SHAPES, level_start_index=STARTS)
    assert out.isfinite().all()


def test_layer_refuses_what_it_cannot_attend_to():
    with pytest.raises(ValueError, match="divisible by num_heads, got 10 and 4"):
        MultiScaleDeformableAttention(10, 4)
    with pytest.warns(UserWarning, match="embed_dims // num_heads is 3"):
        MultiScaleDeformableAttention(6, 2)
    layer = MultiScaleDeformableAttention(8, 2, 2, 1, batch_first=True)
    cells = torch.rand(1, 15, 8)
    levels = {"spatial_shapes": SHAPES, "level_start_index": STARTS}
    with pytest.raises(ValueError, match="must be given, got None"):
        layer(cells)
    with pytest.raises(ValueError, match="16 cells in all, value has 15"):
        layer(cells, reference_points=torch.rand(1, 15, 2, 2), **levels)
    with pytest.raises(ValueError, match=r"or \(B, Q, L, 4\), got \(1, 16, 2, 3\)"):
        layer(torch.rand(1, 16, 8), reference_points=torch.rand(1, 16, 2, 3), **levels)
