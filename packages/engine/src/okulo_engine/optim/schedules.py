"""Learning-rate schedules with a linear warm-up, as factors on each group's own rate."""

import logging
import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, gt, le
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["CosineConfig", "MultiStepConfig", "warmed_up"]

_logger = logging.getLogger(__name__)


def warmed_up(
    main: Callable[[int], float], *, steps: int, warmup_steps: int, warmup_factor: float
) -> Callable[[int], float]:
    """Put a linear warm-up before a schedule.

    The warm-up covers steps 0 to ``min(warmup_steps, steps)``, from ``warmup_factor * main(0)`` to
    the value that ``main`` has where it takes over. ``main`` itself is neither shifted nor
    stretched.

    Args:
        main: From the number of steps taken to a factor on the learning rate.
        steps: Length of the training.
        warmup_steps: 0 for none.
        warmup_factor: Share of the learning rate at step 0.
    """
    length = min(warmup_steps, steps)
    first, last = warmup_factor * main(0), main(length)

    def factor(step: int) -> float:
        if step >= length:
            return main(step)
        alpha = step / length
        return first * (1 - alpha) + last * alpha

    return factor


def _increasing(instance: object, attribute: "Attribute[Any]", value: tuple[int, ...]) -> None:
    if any(a >= b for a, b in pairwise((0, *value))):
        raise ValueError(f"milestones must be positive and increasing, got {list(value)}")


@frozen(kw_only=True)
class MultiStepConfig:
    """The learning rate falls to ``gamma`` times itself at each milestone."""

    milestones: tuple[int, ...] = field(default=(), validator=_increasing)  # steps taken
    gamma: float = field(default=0.1, validator=and_(gt(0.0), le(1.0)))
    warmup_steps: int = field(default=1000, validator=ge(0))
    warmup_factor: float = field(default=0.001, validator=and_(ge(0.0), le(1.0)))

    def build(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """The schedule of a training of ``steps`` steps; ``step()`` it after each of them."""
        unreached = [milestone for milestone in self.milestones if milestone >= steps]
        if unreached:
            _logger.warning("milestones %s lie past the last of %d steps", unreached, steps)

        def main(step: int) -> float:
            return self.gamma ** bisect_right(self.milestones, step)

        return LambdaLR(optimizer, _with_warmup(main, self, steps))


@frozen(kw_only=True)
class CosineConfig:
    """Half a cosine from the learning rate down to ``end_factor`` times it
    (https://arxiv.org/abs/1608.03983, Eq. 5, without restarts)."""

    end_factor: float = field(default=0.0, validator=and_(ge(0.0), le(1.0)))
    warmup_steps: int = field(default=1000, validator=ge(0))
    warmup_factor: float = field(default=0.001, validator=and_(ge(0.0), le(1.0)))

    def build(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """The schedule of a training of ``steps`` steps; ``step()`` it after each of them."""

        def main(step: int) -> float:
            cosine = math.cos(math.pi * step / steps)
            return self.end_factor + (1 - self.end_factor) * 0.5 * (1 + cosine)

        return LambdaLR(optimizer, _with_warmup(main, self, steps))


def _with_warmup(
    main: Callable[[int], float], config: MultiStepConfig | CosineConfig, steps: int
) -> Callable[[int], float]:
    return warmed_up(
        main, steps=steps, warmup_steps=config.warmup_steps, warmup_factor=config.warmup_factor
    )
