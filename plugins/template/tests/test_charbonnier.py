"""The component keeps Okulo's contract, and computes what its docstring says."""

import math

import pytest
import torch

from okulo_core.config import structure_part
from okulo_core.errors import ConfigError
from okulo_core.testing import check_component
from okulo_template import plugin
from okulo_template.charbonnier import CharbonnierLoss, CharbonnierLossConfig


@pytest.fixture
def catalog(okulo_catalog):
    okulo_catalog.register("okulo-template", plugin)
    return okulo_catalog


def test_keeps_the_contract_of_a_component(catalog):
    inputs = (torch.randn(4, 3, requires_grad=True), torch.randn(4, 3))
    check_component(CharbonnierLossConfig, kind="loss", catalog=catalog, inputs=inputs)


def test_a_file_chooses_it_by_name(catalog):
    config = structure_part({"type": "charbonnier", "epsilon": 0.5}, "loss", catalog)
    assert config == CharbonnierLossConfig(epsilon=0.5)


def test_a_file_with_a_wrong_setting_is_refused(catalog):
    with pytest.raises(ConfigError, match="epsilon: 'epsilon' must be > 0"):
        structure_part({"type": "charbonnier", "epsilon": 0.0}, "loss", catalog)


def test_agrees_with_the_formula():
    differences = [0.0, 1e-3, -0.5, 3.0]
    expected = sum(math.sqrt(d * d + 0.01) - 0.1 for d in differences) / 4
    prediction = torch.tensor(differences, dtype=torch.float64)
    found = CharbonnierLoss(epsilon=0.1)(prediction, torch.zeros(4, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_is_smooth_where_values_are_equal():
    prediction = torch.zeros(2, requires_grad=True)
    CharbonnierLoss(epsilon=1e-3)(prediction, torch.zeros(2)).backward()
    assert prediction.grad.tolist() == [0.0, 0.0]


def test_nothing_costs_nothing():
    prediction = torch.zeros(0, 4, requires_grad=True)
    loss = CharbonnierLoss(epsilon=1e-3)(prediction, torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad.shape == (0, 4)


def test_shapes_do_not_broadcast():
    with pytest.raises(ValueError, match=r"got \(2, 1\) and \(2,\)"):
        CharbonnierLoss(epsilon=1e-3)(torch.zeros(2, 1), torch.zeros(2))
