"""Everything of a training run that is not a training step."""

from okulo_engine.hooks.base import HookBase
from okulo_engine.hooks.checkpoint import CheckpointConfig, SaveCheckpoints
from okulo_engine.hooks.clip import (
    ClipGradientNorm,
    ClipGradientNormConfig,
    ClipGradientValue,
    ClipGradientValueConfig,
)
from okulo_engine.hooks.evaluate import Evaluate
from okulo_engine.hooks.finite import NonFiniteLossError, StopOnNonFiniteLoss
from okulo_engine.hooks.metrics import LogMetrics

__all__ = [
    "CheckpointConfig",
    "ClipGradientNorm",
    "ClipGradientNormConfig",
    "ClipGradientValue",
    "ClipGradientValueConfig",
    "Evaluate",
    "HookBase",
    "LogMetrics",
    "NonFiniteLossError",
    "SaveCheckpoints",
    "StopOnNonFiniteLoss",
]
