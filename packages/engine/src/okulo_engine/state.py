"""Everything that a training run changes, and that a checkpoint must hold."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from okulo_core.distributed import all_gather, get_rank
from okulo_core.protocols import Sample
from okulo_engine.seeding import random_state, set_random_state

if TYPE_CHECKING:  # hooks look at the state
    from okulo_engine.hooks.base import HookBase

__all__ = ["TrainState"]

_logger = logging.getLogger(__name__)


@define(kw_only=True, eq=False)
class TrainState:
    """A training run between two steps.

    The weights of ``model`` are stored apart, as safetensors; :meth:`state_dict` is the rest.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    steps: int  # where the training ends
    scaler: GradScaler = field(factory=lambda: GradScaler("cpu", enabled=False))
    hooks: Sequence[HookBase] = ()
    forward: Callable[[list[Sample]], Any] = field()  # the model, or what distributes it

    step: int = 0  # steps done
    batches_seen: int = 0  # by this process; where the loader resumes

    # Of the step in progress or just done; no part of a checkpoint.
    batches: list[list[Sample]] = field(factory=list)  # one, or as many as are accumulated
    losses: dict[str, Tensor] = field(factory=dict)  # detached, means over the batches
    data_time: float = 0.0  # seconds spent waiting for the batches

    @forward.default
    def _undistributed(self) -> nn.Module:
        return self.model

    def notify(self, stage: str, *args: Any) -> None:
        """Call one method of all hooks, in order."""
        for hook in self.hooks:
            getattr(hook, stage)(self, *args)

    def state_dict(self) -> dict[str, Any]:
        """All but the weights, as plain containers; every process must call it."""
        return {
            "step": self.step,
            "batches_seen": self.batches_seen,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "hooks": {name: hook.state_dict() for name, hook in _named(self.hooks)},
            "random": all_gather(random_state()),  # of each process
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back a :meth:`state_dict`, the random generators included."""
        self.step = state["step"]
        self.batches_seen = state["batches_seen"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if state["scaler"]:  # empty when the run had no scaler
            self.scaler.load_state_dict(state["scaler"])
        hooks = dict(_named(self.hooks))
        for name, stored in state["hooks"].items():
            if name in hooks:
                hooks[name].load_state_dict(stored)
            elif stored:
                _logger.warning("the checkpoint has the state of a hook %s, not in this run", name)
        if get_rank() < len(state["random"]):
            set_random_state(state["random"][get_rank()])
        else:
            _logger.warning("the checkpoint was written by fewer processes: random numbers differ")


def _named(hooks: Iterable[HookBase]) -> Iterable[tuple[str, HookBase]]:
    """Class names, numbered from the second of a class on."""
    count: Counter[str] = Counter()
    for hook in hooks:
        name = type(hook).__qualname__
        count[name] += 1
        yield (name if count[name] == 1 else f"{name}#{count[name]}"), hook
