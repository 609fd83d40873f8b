"""The console: a progress bar on a terminal, plain lines elsewhere."""

import logging
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from okulo_engine.loggers.base import LoggerBase
from okulo_engine.state import TrainState

__all__ = ["ConsoleConfig", "ConsoleLogger"]


class ConsoleLogger(LoggerBase):
    """Show how far a run is, when it will be done, its losses and its learning rate.

    Results of an evaluation get lines of their own; results per class are left to the files.
    """

    def __init__(self, console: Console | None = None) -> None:
        # Standard error, like the log: standard output is for results.
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._steps = 0

    def before_train(self, state: TrainState) -> None:
        self._steps = state.steps
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("eta {task.fields[eta]}  {task.fields[losses]}"),
                console=self._console,
                refresh_per_second=2,
            )
            self._task: TaskID = self._progress.add_task(
                "", total=state.steps, completed=state.step, eta="-", losses=""
            )
            self._stderr = sys.stderr
            self._progress.start()  # puts a stream of its own in the place of standard error
            _redirect_log(self._stderr, sys.stderr)

    def after_step(self, state: TrainState) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=state.step)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if "total_loss" not in scalars:
            self._console.print(f"step {step}/{self._steps}  {_results(scalars)}", markup=False)
            return
        eta = str(timedelta(seconds=round(scalars["eta_seconds"])))
        losses = _losses(scalars)
        if self._progress is not None:
            self._progress.update(self._task, eta=eta, losses=losses)
        else:
            text = f"step {step}/{self._steps}  eta {eta}  {losses}"
            self._console.print(text, markup=False)

    def after_train(self, state: TrainState) -> None:
        if self._progress is not None:
            _redirect_log(sys.stderr, self._stderr)
            self._progress.stop()


@frozen
class ConsoleConfig:
    """Settings of :class:`ConsoleLogger`."""

    def build(self, output_dir: Path) -> ConsoleLogger:
        return ConsoleLogger()


def _redirect_log(old: TextIO, new: TextIO) -> None:
    """Let log records that go to one stream go to another: above the bar, and not through it."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler and handler.stream is old:
            handler.setStream(new)


def _losses(scalars: Mapping[str, float]) -> str:
    shown = [f"{name} {value:.4g}" for name, value in scalars.items() if "loss" in name]
    times = f"{scalars['time']:.3g} s/step (data {scalars['data_time']:.2g})"
    return "  ".join([*shown, f"lr {scalars['lr']:.3g}", times])


def _results(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in metrics.items() if "-" not in name)
