"""Evaluate during training."""

from collections.abc import Callable, Mapping
from typing import Any

from okulo_core.distributed import synchronize
from okulo_engine.hooks.base import HookBase
from okulo_engine.state import TrainState

__all__ = ["Evaluate", "flat_metrics"]


class Evaluate(HookBase):
    """Evaluate every ``period`` steps and after the last one.

    Args:
        period: Steps between two evaluations; 0 evaluates at the end alone.
        evaluate: Returns results by task and metric, ``{"bbox": {"AP": 41.0}}``, or nothing on
            other processes than the main one.
    """

    def __init__(self, period: int, evaluate: Callable[[], Mapping[str, Any] | None]) -> None:
        self._period = period
        self._evaluate = evaluate
        self.results: dict[str, Any] = {}  # of the latest evaluation

    def after_step(self, state: TrainState) -> None:
        due = self._period > 0 and state.step % self._period == 0
        if not due and state.step < state.steps:
            return
        state.notify("before_evaluation")
        results = self._evaluate() or {}
        metrics = flat_metrics(results)
        self.results = _plain(results)
        if metrics:
            state.notify("after_evaluation", metrics)
        synchronize()

    def state_dict(self) -> dict[str, Any]:
        return {"results": self.results}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.results = dict(state["results"])


def flat_metrics(results: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """``{"bbox": {"AP": 41.0}}`` as ``{"bbox/AP": 41.0}``.

    Raises:
        ValueError: If something in it is no number.
    """
    flat: dict[str, float] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            flat |= flat_metrics(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = _number(f"{prefix}{name}", value)
    return flat


def _plain(results: Mapping[str, Any]) -> dict[str, Any]:
    """The same with numbers of Python, which a checkpoint can hold, in place of numpy's."""
    return {
        name: _plain(value) if isinstance(value, Mapping) else float(value)
        for name, value in results.items()
    }


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"an evaluator must return numbers, by name or by task and name; got {name} = {value!r}"
        ) from None
