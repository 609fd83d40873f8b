"""A model over a whole data set."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from okulo_core.protocols import Evaluator, Sample

__all__ = ["inference_on_dataset"]

_logger = logging.getLogger(__name__)


def inference_on_dataset(
    model: nn.Module, loader: Iterable[list[Sample]], evaluators: Sequence[Evaluator]
) -> dict[str, dict[str, float]]:
    """Predict every batch once and let all evaluators judge; every process must call it.

    The model is in evaluation mode meanwhile, without gradients, and is put back as it was.

    Args:
        model: Returns a list of predictions per batch.
        loader: This process's share of the data set.
        evaluators: Reset before and asked at the end.

    Returns:
        The results of all evaluators; empty on other processes than the main one.

    Raises:
        ValueError: If two evaluators return results of one name.
    """
    for evaluator in evaluators:
        evaluator.reset()
    images, model_seconds, start = 0, 0.0, time.perf_counter()
    # Not inference_mode: what a model caches here, anchors say, must serve in training as well.
    with _evaluating(model), torch.no_grad():
        for batch in loader:
            began = time.perf_counter()
            outputs = model(batch)
            model_seconds += time.perf_counter() - began
            for evaluator in evaluators:
                evaluator.process(batch, outputs)
            images += len(batch)
    seconds = time.perf_counter() - start
    _logger.info(
        "inference on %d images: %.3g s/image, of it %.3g s in the model",
        images,
        seconds / max(images, 1),
        model_seconds / max(images, 1),
    )
    return _merged([evaluator.evaluate() or {} for evaluator in evaluators])


def _merged(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for result in results:
        twice = sorted(merged.keys() & result.keys())
        if twice:
            raise ValueError(f"two evaluators return results named {twice}; keep one of them")
        merged |= result
    return merged


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode; afterwards each in its own, frozen parts included."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
