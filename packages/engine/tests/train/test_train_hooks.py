"""Hooks one by one, without a model: rows D2-224, D2-241, D2-242, D2-245, D2-248, FV-077."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from okulo_core.errors import OkuloError
from okulo_core.events import EventStorage, log_scalar
from okulo_engine.checkpoint import list_checkpoints, read_weights
from okulo_engine.hooks import (
    Evaluate,
    HookBase,
    LogMetrics,
    NonFiniteLossError,
    SaveCheckpoints,
    StopOnNonFiniteLoss,
)
from okulo_engine.loggers import LoggerBase
from okulo_engine.loop import fit
from okulo_engine.state import TrainState


def state_of(steps=10, hooks=(), model=None):
    model = model or nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return TrainState(
        model=model, optimizer=optimizer, scheduler=schedule, steps=steps, hooks=hooks
    )


def go(state, steps=None):
    """Walk through the steps of a run as the loop does, without training."""
    with EventStorage(state.step) as storage:
        state.notify("before_train")
        while state.step < (steps or state.steps):
            state.notify("before_step")
            state.notify("after_backward")
            state.step += 1
            storage.step = state.step
            state.notify("after_step")
        state.notify("after_train")


# --- Evaluate


@pytest.mark.parametrize(
    ("steps", "period", "at"),
    [(30, 15, [15, 30]), (31, 15, [15, 30, 31]), (20, 0, [20]), (1, 5, [1])],
)
def test_evaluation_is_periodic_and_at_the_end(steps, period, at):
    seen = []
    state = state_of(steps)
    state.hooks = [Evaluate(period, lambda: seen.append(state.step))]
    go(state)
    assert seen == at


def test_results_reach_all_hooks_flat_and_come_back_after_resuming():
    seen = []

    class Listener(HookBase):
        def before_evaluation(self, state):
            seen.append("before")

        def after_evaluation(self, state, metrics):
            seen.append((state.step, dict(metrics)))

    hook = Evaluate(0, lambda: {"bbox": {"AP": np.float64(41.5), "AP-cat": math.nan}, "speed": 3})
    go(state_of(2, [Listener(), hook, Listener()]))
    metrics = seen[2][1]
    assert seen[:2] == ["before", "before"]
    assert seen[2][0] == 2
    assert seen[3][1].keys() == metrics.keys() == {"bbox/AP", "bbox/AP-cat", "speed"}
    assert (metrics["bbox/AP"], metrics["speed"]) == (41.5, 3.0)
    again = Evaluate(0, dict)
    again.load_state_dict(hook.state_dict())
    assert again.results["bbox"]["AP"] == 41.5
    assert type(again.results["bbox"]["AP"]) is float


def test_results_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"got bbox/AP = 'high'"):
        go(state_of(1, [Evaluate(0, lambda: {"bbox": {"AP": "high"}})]))


# --- LogMetrics


class Memory(LoggerBase):
    def __init__(self):
        self.written = []

    def write(self, step, scalars):
        self.written.append((step, dict(scalars)))


class Losses(HookBase):
    """Stands for the loop: the loss of step s is s, and every other step has one more."""

    def after_backward(self, state):
        number = state.step + 1
        state.losses = {"loss_a": torch.tensor(float(number))}
        if number % 2 == 0:
            state.losses["loss_b"] = torch.tensor(10.0, dtype=torch.bfloat16)
        log_scalar("seen", number)
        if number == 1:
            log_scalar("once", 5.0)
        state.data_time = 0.5


def test_losses_are_averaged_over_the_window():
    memory = Memory()
    go(state_of(5, [Losses(), LogMetrics([memory], period=2)]))
    steps = [step for step, _ in memory.written]
    assert steps == [2, 4, 5]
    first, second, last = (scalars for _, scalars in memory.written)
    assert (first["loss_a"], first["loss_b"], first["total_loss"]) == (1.5, 10.0, 11.5)
    assert second["loss_a"] == 3.5
    assert last["loss_a"] == last["total_loss"] == 5.0
    assert "loss_b" not in last


def test_what_the_model_reports_is_logged_once():
    memory = Memory()
    go(state_of(4, [Losses(), LogMetrics([memory], period=2)]))
    assert [scalars["seen"] for _, scalars in memory.written] == [2, 4]
    assert ["once" in scalars for _, scalars in memory.written] == [True, False]


def test_times_are_means_and_tell_the_rest():
    memory = Memory()
    go(state_of(4, [Losses(), LogMetrics([memory], period=2)]))
    scalars = memory.written[0][1]
    assert scalars["data_time"] == pytest.approx(0.5)
    assert 0.5 <= scalars["time"] < 0.6
    assert scalars["eta_seconds"] == pytest.approx(2 * scalars["time"])
    assert memory.written[-1][1]["eta_seconds"] == 0.0


def test_the_learning_rate_is_that_of_the_step_and_of_the_largest_group():
    memory = Memory()
    state = state_of(1, [Losses(), LogMetrics([memory])])
    state.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 9.0})

    class Falling(HookBase):
        def after_step(self, state):
            state.optimizer.param_groups[0]["lr"] = 0.1

    state.hooks = [Falling(), *state.hooks]
    go(state)
    assert memory.written[0][1]["lr"] == 0.5


def test_evaluations_are_logged_too():
    memory = Memory()
    go(state_of(1, [Losses(), LogMetrics([memory]), Evaluate(0, lambda: {"bbox": {"AP": 4.0}})]))
    assert memory.written[1] == (1, {"bbox/AP": 4.0})


# --- StopOnNonFiniteLoss


class Poison(HookBase):
    def __init__(self, step, value):
        self.bad = step, value

    def after_backward(self, state):
        step, value = self.bad
        state.batches = [[{"image_id": 10 * state.step + 1}, {"image_id": f"b{state.step}"}]]
        state.losses = {
            "loss_a": torch.tensor(1.0),
            "loss_b": torch.tensor(value if state.step + 1 == step else 2.0),
        }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_the_run_with_step_names_and_images(tmp_path, value):
    saved = []

    def save(state):
        saved.append(state.step)
        return tmp_path / "failed"

    with pytest.raises(NonFiniteLossError) as caught:
        go(state_of(10, [Poison(4, value), StopOnNonFiniteLoss(save)]))
    assert saved == [3]
    assert str(caught.value) == (
        f"the loss is not finite at step 4: loss_b = {value}; images of the batch: 31, b3; the "
        f"state is saved in {tmp_path / 'failed'}. Look at these images and their annotations, "
        f"lower the learning rate, lengthen the warm-up or clip the gradients"
    )
    assert isinstance(caught.value, OkuloError)
    assert isinstance(caught.value, FloatingPointError)


def test_a_model_that_notices_by_itself_is_placed_too(tmp_path):
    class Diverged(nn.Linear):
        def forward(self, batch):
            raise FloatingPointError("3 boxes are NaN")

    state = state_of(5, [StopOnNonFiniteLoss(lambda state: tmp_path)], Diverged(1, 1))
    with pytest.raises(NonFiniteLossError) as caught:
        fit(state, [[{"image_id": 7}, {"image_id": "b"}]])
    assert str(caught.value) == (
        f"step 1: 3 boxes are NaN; images of the batch: 7, b; the state is saved in {tmp_path}"
    )


def test_looked_at_later_the_first_bad_step_is_still_named(tmp_path):
    hook = StopOnNonFiniteLoss(lambda state: tmp_path, period=5)
    with pytest.raises(NonFiniteLossError, match=r"step 7 \(noticed at step 10\).*images .*61, b6"):
        go(state_of(10, [Poison(7, math.nan), hook]))


def test_the_last_step_is_looked_at_whatever_the_period(tmp_path):
    hook = StopOnNonFiniteLoss(lambda state: tmp_path, period=5)
    with pytest.raises(NonFiniteLossError, match="at step 7: loss_b = nan"):
        go(state_of(7, [Poison(7, math.nan), hook]))


def test_finite_losses_pass(tmp_path):
    hooks = [Poison(99, math.nan), StopOnNonFiniteLoss(lambda state: tmp_path, period=2)]
    state = state_of(7, hooks)
    go(state)
    assert state.step == 7


# --- SaveCheckpoints


def saved_steps(folder):
    return [int(path.name.removeprefix("step_")) for path in list_checkpoints(folder)]


def test_checkpoints_are_periodic_and_at_the_end_and_the_latest_are_kept(tmp_path):
    go(state_of(10, [SaveCheckpoints(tmp_path, period=3, keep=2)]))
    assert saved_steps(tmp_path) == [9, 10]


def test_period_zero_saves_the_end_alone(tmp_path):
    go(state_of(4, [SaveCheckpoints(tmp_path, period=0)]))
    assert saved_steps(tmp_path) == [4]


def test_older_runs_checkpoints_count_after_resuming(tmp_path):
    """Upstream's list of files lived in memory, and a resumed run forgot what it had to delete."""
    go(state_of(10, [SaveCheckpoints(tmp_path, period=2, keep=2)]), steps=4)
    assert saved_steps(tmp_path) == [2, 4]
    state = state_of(8, [SaveCheckpoints(tmp_path, period=2, keep=2)])
    state.step = 4
    go(state)
    assert saved_steps(tmp_path) == [6, 8]


class Stepping(HookBase):
    """Makes the weight tell the step."""

    def after_step(self, state):
        with torch.no_grad():
            state.model.weight.fill_(state.step)


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("max", [1.0, 3.0, 2.0, math.nan], 2),
        ("min", [3.0, 2.0, 1.0, 5.0], 3),
        ("max", [3.0, 3.0, math.inf], 1),
    ],
)
def test_the_best_weights_are_kept_apart(tmp_path, mode, values, best):
    results = iter(values)
    go(
        state_of(
            len(values),
            [
                Stepping(),
                Evaluate(1, lambda: {"bbox": {"AP": next(results)}}),
                SaveCheckpoints(tmp_path, period=0, best="bbox/AP", mode=mode),
            ],
        )
    )
    assert read_weights(tmp_path / "best")["weight"].item() == best


def test_the_record_survives_resuming(tmp_path):
    first = SaveCheckpoints(tmp_path, period=0, best="AP")
    first.after_evaluation(state_of(), {"AP": 5.0})
    second = SaveCheckpoints(tmp_path, period=0, best="AP")
    second.load_state_dict(first.state_dict())
    changed = state_of()
    with torch.no_grad():
        changed.model.weight.fill_(77.0)
    second.after_evaluation(changed, {"AP": 4.0})
    assert read_weights(tmp_path / "best")["weight"].item() != 77.0
    second.after_evaluation(changed, {"AP": 6.0})
    assert read_weights(tmp_path / "best")["weight"].item() == 77.0


def test_a_metric_that_is_not_there_is_said_so_with_the_nearest(tmp_path, caplog):
    hook = SaveCheckpoints(tmp_path, period=0, best="bbox/Ap")
    hook.after_evaluation(SimpleNamespace(step=1), {"bbox/AP": 1.0, "segm/AP": 2.0})
    assert "no metric named 'bbox/Ap'; did you mean 'bbox/AP'" in caplog.text
    assert not (tmp_path / "best").exists()
