"""Gradient clipping: rows D2-699, D2-K168 to D2-K171, golden/detectron2/solver."""

import json
import math

import pytest
import torch
from torch import nn

from okulo_core.events import EventStorage
from okulo_core.testing import shared_path
from okulo_engine.hooks import ClipGradientNormConfig, ClipGradientValueConfig
from okulo_engine.state import TrainState

CASES = {
    "value_0.5_2.0": ClipGradientValueConfig(value=0.5),
    "norm_1.0_2.0": ClipGradientNormConfig(value=1.0, per_parameter=True),
    "norm_1.0_inf": ClipGradientNormConfig(value=1.0, norm_type=math.inf, per_parameter=True),
    "norm_2.0_1.0": ClipGradientNormConfig(value=2.0, norm_type=1.0, per_parameter=True),
}


def state_of(parameters, **options):
    optimizer = torch.optim.SGD(parameters, **({"lr": 1.0} | options))
    return TrainState(model=nn.Identity(), optimizer=optimizer, scheduler=None, steps=1)


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_clipped_steps_are_those_of_detectron2(case):
    golden = json.loads(shared_path("golden/detectron2/solver.json").read_text())[f"clip/{case}"]
    parameters = [nn.Parameter(torch.linspace(-1, 1, 5)), nn.Parameter(torch.linspace(0, 0.3, 4))]
    state = state_of(parameters, **golden["sgd"])
    hook = CASES[case].build()
    for number, expected in enumerate(golden["steps"], start=1):
        for parameter, gradient in zip(parameters, golden["grads"], strict=True):
            parameter.grad = torch.tensor(gradient) * number
        hook.after_backward(state)
        state.optimizer.step()
        for parameter, gradient, value in zip(
            parameters, expected["grads_after_step"], expected["params"], strict=True
        ):
            torch.testing.assert_close(parameter.grad, torch.tensor(gradient))
            torch.testing.assert_close(parameter.data, torch.tensor(value))


def test_norm_is_that_of_all_parameters_together_and_is_reported():
    parameters = [
        nn.Parameter(torch.zeros(1)),
        nn.Parameter(torch.zeros(1)),
        nn.Parameter(torch.zeros(1)),
    ]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    with EventStorage() as storage:
        ClipGradientNormConfig(value=1.0).build().after_backward(state_of(parameters))
    assert parameters[0].grad.item() == pytest.approx(0.6)
    assert parameters[1].grad.item() == pytest.approx(0.8)
    assert parameters[2].grad is None
    assert storage.latest()["grad_norm"][0] == pytest.approx(5.0)


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match="'value' must be > 0"):
        ClipGradientNormConfig(value=0.0)
