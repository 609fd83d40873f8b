"""Save the run from time to time, and the best weights apart."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import ge

from okulo_core.distributed import is_main_process, synchronize
from okulo_core.errors import did_you_mean
from okulo_engine.checkpoint import model_weights, prune, write_checkpoint, write_weights
from okulo_engine.hooks.base import HookBase
from okulo_engine.state import TrainState

__all__ = ["CheckpointConfig", "SaveCheckpoints", "save_state"]

_logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept."""

    period: int = field(default=1000, validator=ge(0))  # steps; 0 saves at the end alone
    # Two, so that one is left to fall back to when the newest is damaged.
    keep: int = field(default=2, validator=ge(1))
    best: str | None = None  # a metric such as bbox/AP, whose best weights are kept apart
    mode: Literal["max", "min"] = "max"  # whether more of it is better, or less

    def build(self, folder: Path, metadata: Mapping[str, str]) -> "SaveCheckpoints":
        return SaveCheckpoints(
            folder,
            period=self.period,
            keep=self.keep,
            best=self.best,
            mode=self.mode,
            metadata=metadata,
        )


class SaveCheckpoints(HookBase):
    """Write ``folder/step_00000200`` and ``folder/best/model.safetensors``.

    It belongs after the other hooks: what they change after a step is then in the checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        *,
        period: int,
        keep: int = 2,
        best: str | None = None,
        mode: Literal["max", "min"] = "max",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._period = period
        self._keep = keep
        self._best = best
        self._sign = 1.0 if mode == "max" else -1.0
        self._metadata = metadata or {}
        self._record = -math.inf  # signed, so that more is better

    def after_step(self, state: TrainState) -> None:
        due = self._period > 0 and state.step % self._period == 0
        if due or state.step == state.steps:
            path = save_state(self._folder, state, self._metadata)
            if is_main_process():
                prune(self._folder, keep=self._keep, newest=path)

    def after_evaluation(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        if self._best is None:
            return
        if self._best not in metrics:
            hint = did_you_mean(self._best, metrics)
            _logger.warning("checkpoint.best: no metric named %r%s", self._best, hint)
            return
        value = metrics[self._best]
        if math.isfinite(value) and self._sign * value > self._record:
            self._record = self._sign * value
            about = {"step": str(state.step), "metric": self._best, "value": str(value)}
            path = self._folder / "best" / "model.safetensors"
            write_weights(path, state.model, {**self._metadata, **about})
            _logger.info("%s = %.4g is the best so far; saved in %s", self._best, value, path)

    def state_dict(self) -> dict[str, Any]:
        return {"record": self._record}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._record = state["record"]


def save_state(folder: Path, state: TrainState, metadata: Mapping[str, str]) -> Path:
    """Write ``folder/step_...`` with all of a run; every process must call it."""
    path = folder / f"step_{state.step:08d}"
    rest = state.state_dict()
    if is_main_process():
        about = {**metadata, "step": str(state.step)}
        weights = model_weights(state.model)
        write_checkpoint(path, weights=weights, state=rest, metadata=about)
    synchronize()
    return path
