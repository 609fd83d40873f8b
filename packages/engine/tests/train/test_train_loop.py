"""The loop: rows D2-070, D2-071, D2-072, D2-221 to D2-224."""

import copy
import itertools

import pytest
import torch
from torch import nn

from okulo_core.events import log_scalar
from okulo_engine.hooks import HookBase
from okulo_engine.loop import fit
from okulo_engine.state import TrainState


class Squares(nn.Module):
    """Loss (w - x)^2, averaged over the batch."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        x = torch.stack([sample["x"] for sample in batch])
        log_scalar("mean_x", x.mean())
        return {"loss_square": ((self.w - x) ** 2).mean(), "loss_zero": 0 * self.w}


class Recorder(HookBase):
    def __init__(self, stop_at=None):
        self.calls = []
        self.stop_at = stop_at

    def before_train(self, state):
        self.calls.append(("before_train", state.step))

    def before_step(self, state):
        self.calls.append(("before_step", state.step, len(state.batches)))

    def after_backward(self, state):
        self.calls.append(("after_backward", state.step, state.model.w.grad.item()))
        if state.step == self.stop_at:
            raise RuntimeError("stop")

    def after_step(self, state):
        self.calls.append(("after_step", state.step, float(state.losses["loss_square"])))

    def after_train(self, state):
        self.calls.append(("after_train", state.step))


def run(model=None, steps=2, hooks=(), lr=0.25, **changes):
    model = model or Squares()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return TrainState(
        model=model, optimizer=optimizer, scheduler=schedule, steps=steps, hooks=hooks, **changes
    )


def ones():
    return itertools.repeat([{"x": torch.tensor(1.0)}])


def test_hooks_are_called_around_each_step_with_what_the_step_knows():
    recorder = Recorder()
    fit(run(hooks=[recorder]), ones())
    # w: 0 -> 0 + 0.25 * 2 -> 0.5 + 0.25 * 1
    assert recorder.calls == [
        ("before_train", 0),
        ("before_step", 0, 1),
        ("after_backward", 0, -2.0),
        ("after_step", 1, 1.0),
        ("before_step", 1, 1),
        ("after_backward", 1, -1.0),
        ("after_step", 2, 0.25),
        ("after_train", 2),
    ]


def test_hooks_are_called_in_their_order():
    order = []

    class Named(HookBase):
        def __init__(self, name):
            self.name = name

        def after_step(self, state):
            order.append(self.name)

    fit(run(steps=1, hooks=[Named("a"), Named("b")]), ones())
    assert order == ["a", "b"]


def test_after_train_is_called_when_an_error_ends_the_run():
    recorder = Recorder(stop_at=1)
    with pytest.raises(RuntimeError, match="stop"):
        fit(run(steps=5, hooks=[recorder]), ones())
    assert recorder.calls[-1] == ("after_train", 1)


def test_a_finished_run_takes_no_step():
    recorder = Recorder()
    fit(run(steps=3, step=3, hooks=[recorder]), iter(()))
    assert recorder.calls == [("before_train", 3), ("after_train", 3)]


def test_a_model_may_return_one_tensor():
    class One(Squares):
        def forward(self, batch):
            return super().forward(batch)["loss_square"]

    state = run(One())
    fit(state, ones())
    assert state.model.w.item() == 0.75
    assert state.losses.keys() == {"loss"}


@pytest.mark.parametrize("output", [[], {}, None], ids=repr)
def test_a_model_that_returns_no_loss_is_refused(output):
    class Bad(Squares):
        def forward(self, batch):
            return output

    with pytest.raises(TypeError, match="a model in training must return its losses, a dict"):
        fit(run(Bad()), ones())


def test_batches_that_end_early_are_reported():
    with pytest.raises(ValueError, match="the batches ended at step 2 of 3"):
        fit(run(steps=3), [[{"x": torch.tensor(1.0)}]])


def test_the_model_is_put_in_training_mode():
    model = Squares().eval()
    fit(run(model, steps=1), ones())
    assert model.training


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_accumulated_batches_equal_one_large_batch(momentum):
    torch.manual_seed(0)
    x = torch.randn(6, 4, dtype=torch.float64)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()

    class Regression(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, batch):
            rows = torch.stack([sample["x"] for sample in batch])
            return {"loss": ((self.network(rows)[:, 0] - rows.sum(1)) ** 2).mean()}

    def train(size, accumulate):
        model = Regression(copy.deepcopy(network))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        state = TrainState(model=model, optimizer=optimizer, scheduler=schedule, steps=5)
        samples = itertools.cycle([{"x": row} for row in x])
        batches = (list(itertools.islice(samples, size)) for _ in itertools.count())
        fit(state, batches, accumulate=accumulate)
        return state

    large, small = train(6, 1), train(2, 3)
    assert small.batches_seen == 15
    torch.testing.assert_close(small.losses, large.losses)
    torch.testing.assert_close(small.model.state_dict(), large.model.state_dict())


def test_state_goes_to_the_hook_it_came_from_also_among_hooks_of_one_class(caplog):
    class Counting(HookBase):
        def __init__(self, count=0):
            self.count = count

        def after_step(self, state):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    first = run(steps=2, hooks=[Counting(), HookBase(), Counting(10)])
    fit(first, ones())
    second = run(steps=2, hooks=[Counting(), Counting()])
    second.load_state_dict(first.state_dict())
    assert [hook.count for hook in second.hooks] == [2, 12]
    assert (second.step, second.batches_seen) == (2, 2)
    third = run(hooks=[])
    third.load_state_dict(first.state_dict())
    assert "state of a hook" in caplog.text
    assert "Counting" in caplog.text
