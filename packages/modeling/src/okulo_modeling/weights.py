"""Weights from files of detectron2 and of safetensors into a model with the same names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from attrs import frozen
from torch import Tensor, nn

from okulo_core.errors import CheckpointError
from okulo_core.io import load, local_path
from okulo_modeling.layers.norm import FrozenBatchNorm2d

__all__ = ["LoadReport", "load_weights", "read_weights"]

# In older files, though they are settings; the counter is only read by a momentum of None.
_IGNORED = re.compile(
    r"(^|\.)pixel_(mean|std)$|anchor_generator\.cell_anchors\.\d+$|num_batches_tracked$"
)

_Row = tuple[str, str, str]


@frozen
class LoadReport:
    """What of a file went into a model; each row is (name, shape in the file, in the model)."""

    loaded: int
    missing: tuple[_Row, ...] = ()  # in the model only
    unexpected: tuple[_Row, ...] = ()  # in the file only
    mismatched: tuple[_Row, ...] = ()  # in both, with different shapes

    @property
    def complete(self) -> bool:
        """Every entry of the file fits one of the model, and the other way round."""
        return not (self.missing or self.unexpected or self.mismatched)

    def table(self) -> str:
        """All that does not fit, one line for each entry."""
        rows = [("problem", "entry", "in the file", "in the model")]
        for problem in ("missing", "unexpected", "mismatched"):
            rows += [(problem, *row) for row in getattr(self, problem)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = (map(str.ljust, row, widths) for row in rows)
        return "\n".join("  ".join(line).rstrip() for line in lines)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the entries of a weight file; nothing in it is executed.

    Args:
        path: ``.safetensors``; ``.pth`` of tensors, alone or under the key ``model``; ``.pkl`` as
            published by detectron2, of numpy arrays under ``model``. A URL is downloaded once.

    Returns:
        Tensors by name, without the prefix ``module.`` of models wrapped for data-parallel training
        and without settings that older files hold (pixel statistics, anchors).

    Raises:
        CheckpointError: The file is damaged, of another kind, or holds other objects than tensors,
            arrays and plain containers.
    """
    local = local_path(str(path))
    try:
        entries = _READERS.get(local.suffix, _read_torch)(local)
    except Exception as error:  # each format has its own errors for damage
        raise CheckpointError(f"cannot read weights from {local}: {error}") from error
    entries = entries.get("model", entries) if isinstance(entries, Mapping) else entries
    if not isinstance(entries, Mapping):
        raise CheckpointError(
            f"{local} must hold tensors by name, alone or under 'model'; got a "
            f"{type(entries).__name__}"
        )
    tensors = {str(name): _tensor(local, name, value) for name, value in entries.items()}
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return {name: value for name, value in tensors.items() if not _IGNORED.search(name)}


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {".safetensors": safetensors.torch.load_file, ".pkl": load}


def _tensor(path: Path, name: object, value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return torch.as_tensor(value)
    raise CheckpointError(
        f"{path}: {name!r} must be a tensor or an array, got {type(value).__name__}"
    )


def load_weights(model: nn.Module, path: str | Path, *, partial: bool = False) -> LoadReport:
    """Load a file of :func:`read_weights` into ``model``, by name.

    Args:
        model: Changed in place, or not at all if an error is raised.
        path: Where the weights are.
        partial: Load what fits and leave the rest of the model as it is, for instance a head with
            another number of classes.

    Raises:
        CheckpointError: Something is missing, unexpected or of another shape and ``partial`` is
            False. The message holds all of it as a table.
    """
    entries = read_weights(path)
    own = {name: t for name, t in model.state_dict().items() if not _IGNORED.search(name)}
    _complete_frozen_norms(entries, model)
    report = LoadReport(
        loaded=sum(name in own and t.shape == own[name].shape for name, t in entries.items()),
        missing=tuple((name, "-", _shape(t)) for name, t in own.items() if name not in entries),
        unexpected=tuple((name, _shape(t), "-") for name, t in entries.items() if name not in own),
        mismatched=tuple(
            (name, _shape(t), _shape(own[name]))
            for name, t in entries.items()
            if name in own and t.shape != own[name].shape
        ),
    )
    if not (report.complete or partial):
        raise CheckpointError(
            f"{path} does not fit the model {type(model).__name__} ({report.loaded} entries do); "
            f"choose the configuration it was made with, or load what fits with partial=True\n"
            f"{report.table()}"
        )
    fitting = {n: t for n, t in entries.items() if n in own and t.shape == own[n].shape}
    model.load_state_dict(fitting, strict=False)
    return report


def _complete_frozen_norms(entries: dict[str, Tensor], model: nn.Module) -> None:
    """Add the statistics, 0 and 1, of frozen norms that Caffe2 stored as weight and bias alone."""
    for name, module in model.named_modules():
        statistics = {f"{name}.running_mean": 0.0, f"{name}.running_var": 1.0}
        incomplete = f"{name}.weight" in entries and not statistics.keys() & entries.keys()
        if isinstance(module, FrozenBatchNorm2d) and incomplete:
            for entry, value in statistics.items():
                entries[entry] = torch.full_like(module.weight, value)


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
