"""Stop a run whose loss is no longer a number, and say where it happened."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from okulo_core.distributed import all_gather, get_world_size
from okulo_core.errors import OkuloError
from okulo_core.protocols import Sample
from okulo_engine.hooks.base import HookBase
from okulo_engine.state import TrainState

__all__ = ["NonFiniteLossError", "StopOnNonFiniteLoss"]


class NonFiniteLossError(OkuloError, FloatingPointError):
    """A loss became NaN or infinite."""


class StopOnNonFiniteLoss(HookBase):
    """Raise when a loss is NaN or infinite, before the step changes the parameters.

    Looking at a loss makes an accelerator finish its queue, so with a ``period`` above 1 the
    losses are looked at together and the message still names the first bad step; by then the
    parameters may have suffered.

    Args:
        save: Stores the state for inspection and returns the place; all processes call it.
        period: Steps between two looks.
    """

    def __init__(self, save: Callable[[TrainState], Path], *, period: int = 1) -> None:
        self._save = save
        self._period = period
        self._recent: list[tuple[int, dict[str, Tensor], list[Any]]] = []

    def after_backward(self, state: TrainState) -> None:
        step = state.step + 1  # the one in progress
        self._recent.append((step, state.losses, _image_ids(state.batches)))
        if step % self._period and step < state.steps:
            return
        recent, self._recent = self._recent, []
        losses = torch.stack(
            [loss.float() for _, step_losses, _ in recent for loss in step_losses.values()]
        )
        found = all_gather(None if losses.isfinite().all() else _first_bad(recent))
        bad = [report for report in found if report is not None]
        if bad:
            raise NonFiniteLossError(_message(bad, step, self._save(state)))

    def on_divergence(self, state: TrainState, error: FloatingPointError) -> None:
        """Say where it was when the model noticed by itself, before there was a loss."""
        if isinstance(error, NonFiniteLossError):
            return
        images = ", ".join(map(str, _image_ids(state.batches)))
        # Saving takes all processes, and the others do not know.
        saved = f"; the state is saved in {self._save(state)}" if get_world_size() == 1 else ""
        raise NonFiniteLossError(
            f"step {state.step + 1}: {error}; images of the batch: {images}{saved}"
        ) from error


def _first_bad(
    recent: Iterable[tuple[int, dict[str, Tensor], list[Any]]],
) -> tuple[int, dict[str, float], list[Any]]:
    for step, losses, images in recent:
        values = {name: float(loss) for name, loss in losses.items()}
        if not all(map(math.isfinite, values.values())):
            return step, values, images
    raise AssertionError("one of these losses was not finite a moment ago")


def _message(bad: list[tuple[int, dict[str, float], list[Any]]], step: int, saved: Path) -> str:
    first = min(report[0] for report in bad)
    losses = [values for at, values, _ in bad if at == first]
    images = [image for at, _, ids in bad if at == first for image in ids]
    names = {
        f"{name} = {value}"
        for values in losses
        for name, value in values.items()
        if not math.isfinite(value)
    }
    noticed = f" (noticed at step {step})" if step != first else ""
    return (
        f"the loss is not finite at step {first}{noticed}: {', '.join(sorted(names))}; "
        f"images of the batch: {', '.join(map(str, images))}; the state is saved in {saved}. "
        f"Look at these images and their annotations, lower the learning rate, lengthen the "
        f"warm-up or clip the gradients"
    )


def _image_ids(batches: list[list[Sample]]) -> list[Any]:
    return [sample.get("image_id", "?") for batch in batches for sample in batch]
