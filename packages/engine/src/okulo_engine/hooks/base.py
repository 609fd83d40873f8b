"""What may happen around the steps of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from okulo_engine.state import TrainState

__all__ = ["HookBase"]


class HookBase:
    """Something that watches or steers a training run; here, each method does nothing.

    The loop calls ``before_train``; then for each step, once its batches are loaded,
    ``before_step``, ``after_backward`` (gradients are there, unscaled, and the parameters are
    still those of before) and ``after_step`` (``state.step`` counts the step as done); and in the
    end ``after_train``, also when an error ends the run: ``state.step == state.steps`` tells the
    two apart. Around an evaluation come ``before_evaluation`` and ``after_evaluation``. Hooks are
    called in the order in which the state holds them.

    A hook that must survive an interruption returns what it needs from ``state_dict``: plain
    containers, numbers, strings and tensors.
    """

    def before_train(self, state: TrainState) -> None:
        """The model and the optimiser are ready; ``state.step`` is 0 or where a run resumes."""

    def before_step(self, state: TrainState) -> None:
        """``state.batches`` hold the batches of the step."""

    def after_backward(self, state: TrainState) -> None:
        """``state.losses`` hold the losses, the parameters their gradients."""

    def after_step(self, state: TrainState) -> None:
        """The parameters are updated and ``state.step`` counts the step."""

    def before_evaluation(self, state: TrainState) -> None:
        """The model is about to be evaluated."""

    def after_evaluation(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """``metrics`` are the results, named as in ``bbox/AP``; on the main process only."""

    def on_divergence(self, state: TrainState, error: FloatingPointError) -> None:
        """This process met numbers that are not finite; the run ends with ``error``."""

    def after_train(self, state: TrainState) -> None:
        """The run is over, or broken off by an error."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
