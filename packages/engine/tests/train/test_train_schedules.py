"""Learning-rate schedules: rows D2-700 to D2-703, D2-251, golden/detectron2/solver."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD

from okulo_core.testing import shared_path
from okulo_engine.optim import CosineConfig, MultiStepConfig, warmed_up

GOLDEN = {
    "multistep_linear": MultiStepConfig(milestones=(100, 160), warmup_steps=30),
    "multistep_no_warmup": MultiStepConfig(milestones=(100, 160), warmup_steps=0),
    "multistep_steps_past_end": MultiStepConfig(milestones=(100, 500), warmup_steps=30),
    "multistep_long_warmup": MultiStepConfig(milestones=(100, 160), warmup_steps=500),
    "multistep_warmup_past_step": MultiStepConfig(milestones=(100, 160), warmup_steps=120),
    "cosine": CosineConfig(warmup_steps=30),
    "cosine_end": CosineConfig(warmup_steps=30, end_factor=0.1),
}


def two_groups(lr=0.02):
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": factor * lr} for factor in (1, 2)
    ]
    return SGD(groups, lr=lr)


def rates(config, steps, optimizer=None):
    """The rate of each group that each step is taken with."""
    optimizer = optimizer or two_groups()
    schedule = config.build(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.shared
@pytest.mark.parametrize("case", GOLDEN)
def test_rates_are_those_of_detectron2(case):
    golden = json.loads(shared_path("golden/detectron2/solver.json").read_text())[f"lr/{case}"]
    expected = golden["lr_per_iter [group0, group1 (2x base)]"]
    torch.testing.assert_close(
        torch.tensor(rates(GOLDEN[case], 200), dtype=torch.float64),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-9,
        atol=0,
    )


@pytest.mark.shared
def test_warmup_factor_is_that_of_detectron2():
    golden = json.loads(shared_path("golden/detectron2/solver.json").read_text())["warmup_factor"]
    factor = warmed_up(lambda step: 1.0, steps=15, warmup_steps=10, warmup_factor=0.1)
    assert [factor(step) for step in range(15)] == pytest.approx(golden["linear"], rel=1e-12)


def test_milestone_at_the_last_step_is_no_error(caplog):
    lr = rates(MultiStepConfig(milestones=(3, 5), warmup_steps=0), 5)
    assert [first for first, _ in lr] == pytest.approx([0.02, 0.02, 0.02, 0.002, 0.002])
    assert "milestones [5] lie past the last of 5 steps" in caplog.text


def test_one_step_is_a_training_too():
    assert rates(CosineConfig(warmup_steps=0), 1) == [[0.02, 0.04]]


@given(
    steps=st.integers(1, 300),
    warmup=st.integers(0, 400),
    first=st.floats(0, 1),
    end=st.floats(0, 1),
)
def test_cosine_is_the_formula_and_warm_up_a_straight_line_to_it(steps, warmup, first, end):
    seen = [
        a
        for a, _ in rates(
            CosineConfig(warmup_steps=warmup, warmup_factor=first, end_factor=end),
            steps,
            two_groups(lr=1.0),
        )
    ]

    def cosine(step):
        return end + (1 - end) * (1 + math.cos(math.pi * step / steps)) / 2

    length = min(warmup, steps)
    for step, rate in enumerate(seen):
        line = first + (cosine(length) - first) * step / length if step < length else cosine(step)
        assert rate == pytest.approx(line, abs=1e-12)


def test_resuming_goes_on_where_it_stopped():
    config = MultiStepConfig(milestones=(6, 9), warmup_steps=4)
    whole = rates(config, 12)
    optimizer = two_groups()
    schedule = config.build(optimizer, 12)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    later = two_groups()
    resumed = config.build(later, 12)
    later.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    seen = []
    for _ in range(5, 12):
        seen.append([group["lr"] for group in later.param_groups])
        later.step()
        resumed.step()
    assert seen == whole[5:]


@pytest.mark.parametrize("milestones", [(5, 5), (9, 3), (0, 3)])
def test_milestones_must_increase(milestones):
    with pytest.raises(ValueError, match=r"milestones must be positive and increasing, got \["):
        MultiStepConfig(milestones=milestones)
