"""Optimisers, the parameter groups they are built from, and learning-rate schedules."""

from okulo_engine.optim.groups import get_default_optimizer_params, reduce_param_groups
from okulo_engine.optim.optimizers import AdamWConfig, SGDConfig
from okulo_engine.optim.schedules import CosineConfig, MultiStepConfig, warmed_up

__all__ = [
    "AdamWConfig",
    "CosineConfig",
    "MultiStepConfig",
    "SGDConfig",
    "get_default_optimizer_params",
    "reduce_param_groups",
    "warmed_up",
]
