"""Gradient clipping."""

from attrs import field, frozen
from attrs.validators import gt
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from okulo_core.events import log_scalar
from okulo_engine.hooks.base import HookBase
from okulo_engine.state import TrainState

__all__ = [
    "ClipGradientNorm",
    "ClipGradientNormConfig",
    "ClipGradientValue",
    "ClipGradientValueConfig",
]


class ClipGradientNorm(HookBase):
    """Shrink the gradient to a largest norm.

    Args:
        value: The largest norm.
        norm_type: p of the p-norm; ``inf`` for the largest absolute element.
        per_parameter: Clip each parameter's gradient by its own norm, as detectron2 does, and not
            all of them by the norm of the whole.
    """

    def __init__(self, value: float, *, norm_type: float = 2.0, per_parameter: bool = False):
        self._value = value
        self._norm_type = norm_type
        self._per_parameter = per_parameter

    def after_backward(self, state: TrainState) -> None:
        parameters = _with_gradient(state.optimizer)
        if self._per_parameter:
            for parameter in parameters:
                clip_grad_norm_(parameter, self._value, self._norm_type)
        else:
            log_scalar("grad_norm", clip_grad_norm_(parameters, self._value, self._norm_type))


class ClipGradientValue(HookBase):
    """Clamp each element of the gradient to ``[-value, value]``."""

    def __init__(self, value: float):
        self._value = value

    def after_backward(self, state: TrainState) -> None:
        clip_grad_value_(_with_gradient(state.optimizer), self._value)


@frozen(kw_only=True)
class ClipGradientNormConfig:
    """Settings of :class:`ClipGradientNorm`."""

    value: float = field(default=1.0, validator=gt(0.0))
    norm_type: float = field(default=2.0, validator=gt(0.0))
    per_parameter: bool = False

    def build(self) -> ClipGradientNorm:
        return ClipGradientNorm(
            self.value, norm_type=self.norm_type, per_parameter=self.per_parameter
        )


@frozen(kw_only=True)
class ClipGradientValueConfig:
    """Settings of :class:`ClipGradientValue`."""

    value: float = field(default=1.0, validator=gt(0.0))

    def build(self) -> ClipGradientValue:
        return ClipGradientValue(self.value)


def _with_gradient(optimizer: Optimizer) -> list[nn.Parameter]:
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    return [parameter for parameter in parameters if parameter.grad is not None]
