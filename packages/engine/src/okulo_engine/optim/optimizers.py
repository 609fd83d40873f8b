"""The optimisers of ``torch.optim`` as configurations, with detectron2's parameter groups."""

from typing import Any

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, optional
from torch import nn
from torch.optim import SGD, AdamW

from okulo_engine.optim.groups import get_default_optimizer_params

__all__ = ["AdamWConfig", "SGDConfig"]

_NOT_NEGATIVE: Any = optional(ge(0.0))


@frozen(kw_only=True)
class SGDConfig:
    """Stochastic gradient descent with momentum; the defaults are detectron2's for 16 images."""

    lr: float = field(default=0.02, validator=gt(0.0))
    momentum: float = field(default=0.9, validator=and_(ge(0.0), lt(1.0)))
    nesterov: bool = False
    weight_decay: float = field(default=1e-4, validator=ge(0.0))
    weight_decay_norm: float | None = field(default=0.0, validator=_NOT_NEGATIVE)  # norm layers
    weight_decay_bias: float | None = field(default=None, validator=_NOT_NEGATIVE)
    bias_lr_factor: float = field(default=1.0, validator=gt(0.0))

    def build(self, model: nn.Module) -> SGD:
        groups = _groups(self, model)
        return SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


@frozen(kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (https://arxiv.org/abs/1711.05101)."""

    lr: float = field(default=1e-4, validator=gt(0.0))
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), validator=deep_iterable(and_(ge(0.0), lt(1.0)))
    )
    eps: float = field(default=1e-8, validator=gt(0.0))
    weight_decay: float = field(default=0.05, validator=ge(0.0))
    weight_decay_norm: float | None = field(default=0.0, validator=_NOT_NEGATIVE)  # norm layers
    weight_decay_bias: float | None = field(default=None, validator=_NOT_NEGATIVE)
    bias_lr_factor: float = field(default=1.0, validator=gt(0.0))

    def build(self, model: nn.Module) -> AdamW:
        return AdamW(_groups(self, model), lr=self.lr, betas=self.betas, eps=self.eps)


def _groups(config: SGDConfig | AdamWConfig, model: nn.Module) -> list[dict[str, Any]]:
    return get_default_optimizer_params(
        model,
        base_lr=config.lr,
        weight_decay=config.weight_decay,
        weight_decay_norm=config.weight_decay_norm,
        bias_lr_factor=config.bias_lr_factor,
        weight_decay_bias=config.weight_decay_bias,
    )
