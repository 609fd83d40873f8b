"""From a run's configuration to a trained model."""

import json
import logging
import math
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from okulo_core.catalog import Catalog
from okulo_core.config import unstructure
from okulo_core.data import Dataset, DatasetInfo
from okulo_core.distributed import get_rank, is_main_process
from okulo_core.errors import ConfigError
from okulo_core.weights import load_weights
from okulo_engine.checkpoint import Checkpoint, load_model_weights, read_latest
from okulo_engine.hooks.base import HookBase
from okulo_engine.hooks.checkpoint import save_state
from okulo_engine.hooks.evaluate import Evaluate
from okulo_engine.hooks.finite import StopOnNonFiniteLoss
from okulo_engine.hooks.metrics import LogMetrics
from okulo_engine.inference import inference_on_dataset
from okulo_engine.launch import distributed_model, process_group
from okulo_engine.loading import build_test_loader, build_train_loader
from okulo_engine.loop import fit
from okulo_engine.output import CHECKPOINTS, claim_output, environment, log_file
from okulo_engine.precision import autocast_for, scaler_for
from okulo_engine.run_config import RunConfig
from okulo_engine.seeding import deterministic_algorithms, seed_all_rng
from okulo_engine.state import TrainState

__all__ = ["build_model", "check_classes", "evaluate", "train"]

_logger = logging.getLogger(__name__)


def train(
    config: RunConfig,
    *,
    output_dir: str | Path,
    catalog: Catalog,
    resume: bool = False,
    hooks: Iterable[HookBase] = (),
) -> dict[str, Any]:
    """Train as ``config`` says; under ``torchrun``, together with the other processes.

    Args:
        config: The run.
        output_dir: Gets ``config.yaml``, ``environment.json``, ``log.txt``, ``checkpoints/``, and
            what the loggers write.
        catalog: Where the names of components come from, to write the configuration down.
        resume: Continue from the newest whole checkpoint in ``output_dir``, if there is any.
        hooks: Observers besides those of the configuration.

    Returns:
        Results of the last evaluation, by task and metric; empty without evaluators.

    Raises:
        OkuloError: If something is wrong with the output folder, the data, the weights, the disk
            or the loss; each says what.
    """
    output = Path(output_dir)
    with process_group(config.device) as device:
        claim_output(output, config, catalog, resume=resume)
        repeatable = config.deterministic
        if repeatable is None:
            repeatable = device.type == "cpu"
        with log_file(output / "log.txt"), deterministic_algorithms(repeatable):
            return _train(config, output, catalog, device, resume, hooks)


def evaluate(
    config: RunConfig,
    model: nn.Module,
    *,
    dataset: Dataset | None = None,
    output_dir: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a model on the test data of a run; every process must call it.

    Args:
        config: ``test_data`` and ``evaluators`` are used.
        model: On its device, with its weights.
        dataset: The test set, if it is open already.
        output_dir: Where evaluators may leave files.

    Raises:
        ConfigError: If the run has no test data.
    """
    if config.test_data is None:
        raise ConfigError("test_data: the run has none, so there is nothing to evaluate on")
    dataset = config.test_data.dataset.build() if dataset is None else dataset
    evaluators = [part.build(dataset, output_dir) for part in config.evaluators]
    return inference_on_dataset(model, build_test_loader(config.test_data, dataset), evaluators)


def check_classes(config: RunConfig, info: DatasetInfo) -> None:
    """Refuse a model that has another number of classes than the data.

    Raises:
        ConfigError: It says which of the two to change.
    """
    declared, found = getattr(config.model, "num_classes", None), len(info.thing_classes)
    if declared is not None and found and declared != found:
        raise ConfigError(
            f"model.num_classes: is {declared}, but {info.name} has {found} classes "
            f"({', '.join(info.thing_classes)}); set model.num_classes={found}"
        )


def _train(
    config: RunConfig,
    output: Path,
    catalog: Catalog,
    device: torch.device,
    resume: bool,
    hooks: Iterable[HookBase],
) -> dict[str, Any]:
    dataset = config.train_data.dataset.build()
    check_classes(config, dataset.info)
    checkpoint = read_latest(output / CHECKPOINTS) if resume else None
    model = _build_model(config, checkpoint).to(device)
    evaluations = _evaluations(config, model, dataset.info, output)
    metadata = _metadata(config, catalog, dataset.info)
    observers = [*(part.build() for part in config.hooks), *hooks]
    optimizer = config.optimizer.build(model)
    state = TrainState(
        model=model,
        forward=distributed_model(model, device),
        optimizer=optimizer,
        scheduler=config.schedule.build(optimizer, config.steps),
        scaler=scaler_for(config.amp, device),
        steps=config.steps,
        hooks=_hooks(config, device, output, metadata, [*observers, *evaluations]),
    )
    if checkpoint is not None:
        state.load_state_dict(checkpoint.state)
        _logger.info("continuing from %s", checkpoint.path)
    elif resume:
        _logger.warning("%s has no checkpoint to resume from; starting at step 0", output)
    loader = build_train_loader(
        config.train_data, seed=config.seed, start_batch=state.batches_seen, dataset=dataset
    )
    with warnings.catch_warnings():
        # In fp16 a step may be skipped, the first above all; the schedule counts it all the same.
        warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step", UserWarning)
        fit(
            state,
            loader,
            autocast=autocast_for(config.amp, device),
            accumulate=config.accumulate,
        )
    return evaluations[0].results if evaluations else {}


def build_model(config: RunConfig) -> nn.Module:
    """The run's model with random weights.

    Raises:
        ConfigError: If its parts do not fit together.
    """
    try:
        return config.model.build()
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error


def _build_model(config: RunConfig, checkpoint: Checkpoint | None) -> nn.Module:
    """The model with the weights it starts from, which are the same on all processes."""
    seed_all_rng(config.seed)
    model = build_model(config)
    if checkpoint is not None:
        load_weights(model, checkpoint.weights, source=str(checkpoint.path))
    elif config.init_weights is not None:
        report = load_model_weights(model, config.init_weights, partial=config.init_partial)
        _logger.info("%s%s", report, f"\n{report.table()}" if report.misfits else "")
    # From here on processes differ: each draws its own samples.
    seed_all_rng(config.seed + get_rank())
    return model


def _evaluations(
    config: RunConfig, model: nn.Module, info: DatasetInfo, output: Path
) -> list[Evaluate]:
    """The evaluation during training, or none; the test data is opened now, to fail now."""
    if not config.evaluators or config.test_data is None:
        return []
    dataset = config.test_data.dataset.build()
    if dataset.info.thing_classes != info.thing_classes:
        raise ConfigError(
            f"test_data: {dataset.info.name} has the classes {list(dataset.info.thing_classes)}, "
            f"but {info.name} in train_data has {list(info.thing_classes)}; "
            f"they must be the same, in the same order"
        )
    folder = output / "evaluation"
    run = partial(evaluate, config, model, dataset=dataset, output_dir=folder)
    return [Evaluate(config.eval_period, run)]


def _hooks(
    config: RunConfig,
    device: torch.device,
    output: Path,
    metadata: dict[str, str],
    observers: Iterable[HookBase],
) -> list[HookBase]:
    loggers = [part.build(output) for part in config.loggers] if is_main_process() else []
    failed = partial(save_state, output / "failed", metadata=metadata)
    return [
        # Looking at the loss is free on a CPU; a GPU is made to wait only where it is logged.
        StopOnNonFiniteLoss(failed, period=1 if device.type == "cpu" else _looks(config)),
        *([config.clip_gradients.build()] if config.clip_gradients else []),
        LogMetrics(loggers, period=config.log_period),
        *loggers,
        *observers,
        config.checkpoint.build(output / CHECKPOINTS, metadata),  # last: stores what others did
    ]


def _metadata(config: RunConfig, catalog: Catalog, info: DatasetInfo) -> dict[str, str]:
    """What the weights alone do not tell, stored with them as JSON."""
    return {
        "config": json.dumps(unstructure(config, catalog)),
        "info": json.dumps(info.to_dict()),
        "versions": json.dumps(environment()["versions"]),
    }


def _looks(config: RunConfig) -> int:
    """Steps between two looks at the loss on a GPU: at log steps, and before anything is saved."""
    return math.gcd(config.log_period, config.checkpoint.period, config.eval_period)
