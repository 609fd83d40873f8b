"""A complete training run as data."""

from typing import Any, Literal

from attrs import Attribute, field, frozen
from attrs.validators import ge, in_, instance_of

from okulo_core.config import part, parts
from okulo_engine.hooks.checkpoint import CheckpointConfig
from okulo_engine.loading import LoaderConfig
from okulo_engine.loggers.console import ConsoleConfig
from okulo_engine.loggers.jsonl import JsonLinesConfig

__all__ = ["RunConfig"]


def _with_test_data(run: "RunConfig", attribute: "Attribute[Any]", value: tuple[Any, ...]) -> None:
    if value and run.test_data is None:
        raise ValueError("evaluators need test_data, got none; give test_data: {dataset, mapper}")


@frozen(kw_only=True)
class RunConfig:
    """What is trained, on what, how, and what is written down meanwhile."""

    model: Any = part("model")
    train_data: LoaderConfig
    test_data: LoaderConfig | None = None
    optimizer: Any = part("optimizer")
    schedule: Any = part("schedule")
    steps: int = field(validator=ge(1))
    seed: int = field(default=0, validator=ge(0))
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...

    # Precision of the forward pass.
    amp: Literal["none", "bf16", "fp16"] = field(
        default="none", validator=in_(("none", "bf16", "fp16"))
    )
    accumulate: int = field(default=1, validator=ge(1))  # batches per step
    clip_gradients: Any = part("gradient_clipping", optional=True)
    deterministic: bool | None = None  # null: on the CPU, where it costs little

    init_weights: str | None = None  # where to start from
    init_partial: bool = False  # whether init_weights may fit in part

    eval_period: int = field(default=0, validator=ge(0))  # steps; 0 evaluates at the end alone
    evaluators: Any = parts("evaluator")
    checkpoint: CheckpointConfig = field(
        factory=CheckpointConfig, validator=instance_of(CheckpointConfig)
    )
    log_period: int = field(default=20, validator=ge(1))  # steps
    loggers: Any = parts("logger", default=(ConsoleConfig(), JsonLinesConfig()))
    hooks: Any = parts("hook")
    visualizer: Any = part("visualizer", optional=True)  # how predictions are drawn

    @evaluators.validator
    def _evaluators_have_data(self, attribute: "Attribute[Any]", value: Any) -> None:
        _with_test_data(self, attribute, value)
