"""Collect what a run measures and hand it to the loggers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from okulo_core.distributed import all_gather, reduce_dict
from okulo_core.events import get_event_storage
from okulo_engine.hooks.base import HookBase
from okulo_engine.state import TrainState

if TYPE_CHECKING:  # loggers are hooks too
    from okulo_engine.loggers.base import LoggerBase

__all__ = ["LogMetrics", "current_lr"]


class LogMetrics(HookBase):
    """Average the losses over a window of steps and over the processes, and log them.

    An accelerator is waited for once per window. What the model reports through
    :func:`okulo_core.events.log_scalar` is logged with its last value.

    Args:
        loggers: Empty on all processes but the main one.
        period: Steps per window; the last window may be shorter.
    """

    def __init__(self, loggers: Sequence[LoggerBase], *, period: int = 20) -> None:
        self._loggers = loggers
        self._period = period
        self._reset()

    def _reset(self) -> None:
        self._losses: list[dict[str, Tensor]] = []
        self._seconds = self._data_seconds = 0.0

    def before_train(self, state: TrainState) -> None:
        self._reset()

    def before_step(self, state: TrainState) -> None:
        self._lr = current_lr(state.optimizer)  # after the step it would be that of the next
        self._start = time.perf_counter()

    def after_step(self, state: TrainState) -> None:
        self._losses.append(state.losses)
        due = state.step % self._period == 0 or state.step == state.steps
        # Before the clock is read: this waits for all that the accelerator has to do.
        losses = _means(self._losses) if due else {}
        self._seconds += state.data_time + time.perf_counter() - self._start
        self._data_seconds += state.data_time
        if due:
            self._log(state, losses)
            self._reset()

    def after_evaluation(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        self._write(state.step, metrics)

    def _log(self, state: TrainState, losses: dict[str, float]) -> None:
        count = len(self._losses)
        seconds = self._seconds / count
        reported = {
            name: value
            for name, (value, step) in get_event_storage().latest().items()
            if step >= state.step - count
        }
        scalars = {
            "total_loss": sum(losses.values()),
            **losses,
            **reported,
            "lr": self._lr,
            "time": seconds,
            "data_time": max(all_gather(self._data_seconds)) / count,
            "eta_seconds": seconds * (state.steps - state.step),
        }
        self._write(state.step, scalars)

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.write(step, scalars)


def current_lr(optimizer: Optimizer) -> float:
    """The learning rate of the group with the most parameters."""
    return float(max(optimizer.param_groups, key=lambda group: len(group["params"]))["lr"])


def _means(window: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Mean of each loss over the steps that had it, and over the processes."""
    names = list(dict.fromkeys(name for losses in window for name in losses))
    means = {
        name: torch.stack([losses[name] for losses in window if name in losses]).float().mean()
        for name in names
    }
    reduced = reduce_dict(means)
    values = torch.stack([reduced[name] for name in names]).tolist()
    return dict(zip(names, values, strict=True))
