"""active_rotated_filter, section 19 of the inventory."""

import pytest
import torch

from okulo_ops import active_rotated_filter


@pytest.mark.shared
@pytest.mark.parametrize("case", ["o4.r4.k1", "o4.r4.k3", "o8.r8.k1", "o8.r8.k3"])
def test_recorded_numbers(golden_mmcv, case):
    golden = golden_mmcv("ops_conv_attention")
    name = f"active_rotated_filter.{case}"
    weight = golden(f"{name}.in0").requires_grad_()
    result = active_rotated_filter(weight, golden(f"{name}.in1"))
    torch.testing.assert_close(result, golden(f"{name}.out"), rtol=0, atol=0)
    (grad,) = torch.autograd.grad(result, weight, golden.weights(result))
    torch.testing.assert_close(grad, golden(f"{name}.grad0"))


def table_of(orientations, height, width, angles):
    entries = orientations * height * width
    generator = torch.Generator().manual_seed(0)
    turned = [torch.randperm(entries, generator=generator) + 1 for _ in range(angles)]
    return torch.stack(turned, 1).reshape(orientations, height, width, angles)


def test_contract(check_operator, device):
    args = torch.randn(2, 2, 2, 1, 2), table_of(2, 1, 2, 3)
    check_operator("active_rotated_filter", args, wrt=(0,), device=device)


def test_contract_without_filters(check_operator, device):
    args = torch.zeros(0, 2, 2, 1, 2), table_of(2, 1, 2, 3)
    check_operator("active_rotated_filter", args, wrt=(0,), device=device)


def test_every_entry_goes_where_the_table_says():
    weight = torch.randn(2, 3, 2, 1, 2, dtype=torch.float64, requires_grad=True)
    table = table_of(2, 1, 2, 5)
    result = active_rotated_filter(weight, table).reshape(2, 5, 3, 4)
    for entry in range(4):
        for angle in range(5):
            to = table.reshape(4, 5)[entry, angle] - 1
            torch.testing.assert_close(result[:, angle, :, to], weight.flatten(2)[:, :, entry])
    assert torch.autograd.gradcheck(lambda w: active_rotated_filter(w, table), weight)
    assert active_rotated_filter(weight[:0], table).shape == (0, 6, 1, 2)


def test_refused_input_says_what_was_expected():
    weight = torch.zeros(1, 1, 1, 1, 2)
    with pytest.raises(ValueError, match=r"each of 1..2 once.*from 1 to 1"):
        active_rotated_filter(weight, torch.ones(1, 1, 2, 1, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"integers of shape \(1, 1, 2, 'R'\)"):
        active_rotated_filter(weight, torch.ones(1, 2, 1, 1, dtype=torch.int32))
    with pytest.raises(RuntimeError, match=r"index 3 is not in 1..2"):
        torch.ops.okulo.active_rotated_filter(weight, torch.full((1, 1, 2, 1), 3))
