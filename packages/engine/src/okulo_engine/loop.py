"""The training loop. All that is not a training step is a hook."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from okulo_core.events import EventStorage
from okulo_core.protocols import Sample
from okulo_engine.state import TrainState

__all__ = ["fit"]


def fit(
    state: TrainState,
    batches: Iterable[list[Sample]],
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    accumulate: int = 1,
) -> None:
    """Train until ``state.step == state.steps``; call again with a restored state to resume.

    A project that wants another loop writes another function.

    Args:
        state: The run; it is changed in place.
        batches: At least ``accumulate`` for each step.
        autocast: Makes the context of the forward pass, for mixed precision.
        accumulate: Batches per step; their gradients are averaged.
    """
    stream = iter(batches)
    state.model.train()
    with EventStorage(state.step) as storage:
        try:
            state.notify("before_train")
            while state.step < state.steps:
                _load(state, stream, accumulate)
                state.notify("before_step")
                _backward(state, autocast)
                state.scaler.unscale_(state.optimizer)
                state.notify("after_backward")
                state.scaler.step(state.optimizer)
                state.scaler.update()
                state.optimizer.zero_grad(set_to_none=True)
                state.scheduler.step()
                state.step += 1
                storage.step = state.step
                state.notify("after_step")
        except FloatingPointError as error:
            state.notify("on_divergence", error)
            raise
        finally:
            state.notify("after_train")


def _load(state: TrainState, stream: Iterator[list[Sample]], count: int) -> None:
    start = time.perf_counter()
    state.batches = list(islice(stream, count))
    if len(state.batches) < count:
        raise ValueError(
            f"the batches ended at step {state.step + 1} of {state.steps}; "
            f"give the loop a loader that goes on for ever"
        )
    state.batches_seen += count
    state.data_time = time.perf_counter() - start


def _backward(state: TrainState, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
    """Leave the gradients in the parameters, and the losses in the state."""
    share = 1 / len(state.batches)
    state.losses = {}
    for number, batch in enumerate(state.batches, start=1):
        with _synchronised(state.forward, number == len(state.batches)):
            with autocast():
                losses = _named(state.forward(batch))
            state.scaler.scale(reduce(torch.add, losses.values()) * share).backward()
        for name, loss in losses.items():
            part = loss.detach() * share
            state.losses[name] = state.losses[name] + part if name in state.losses else part


def _synchronised(forward: Any, last: bool) -> AbstractContextManager[Any]:
    """Processes exchange gradients in the last backward pass of a step only."""
    return nullcontext() if last or not hasattr(forward, "no_sync") else forward.no_sync()


def _named(losses: dict[str, Tensor] | Tensor) -> dict[str, Tensor]:
    if isinstance(losses, Tensor):
        return {"loss": losses}
    if not isinstance(losses, dict) or not losses:
        raise TypeError(
            f"a model in training must return its losses, a dict of scalar tensors or one tensor, "
            f"got {losses!r}"
        )
    return losses
