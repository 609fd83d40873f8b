"""Weights of a model: to a file, from a file of several formats, and into a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from okulo_core.errors import CheckpointError
from okulo_core.io import atomic_write, load, local_path
from okulo_engine.checkpoint.folder import WEIGHTS, list_checkpoints, read_checkpoint, read_latest
from okulo_engine.checkpoint.report import LoadReport, Misfit

__all__ = [
    "load_model_weights",
    "load_weights",
    "model_weights",
    "read_weights",
    "write_weights",
]


def model_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model as safetensors takes it: on the CPU, dense, sharing no memory.

    A tensor with several names is stored under the first of them.

    Raises:
        TypeError: If the state has something else than tensors.
    """
    weights: dict[str, Tensor] = {}
    aliases = _aliases(model)
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"a checkpoint holds tensors, but the model's state {name!r} is a "
                f"{type(tensor).__name__}; register it as a buffer"
            )
        if aliases[name] == name:
            weights[name] = tensor.detach().cpu().contiguous()
    return weights


def write_weights(path: Path, model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the weights of a model as one safetensors file, whole or not at all."""
    data = safetensors.torch.save(model_weights(model), dict(metadata))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the weights {path}: {error.strerror or error}; make room there and "
            f"continue with --resume"
        ) from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors.

    Args:
        path: A safetensors file; a file of ``torch.save``; a ``.pkl`` of arrays as detectron2
            publishes them; a checkpoint folder; or a folder with checkpoints or a run's output,
            of which the newest whole checkpoint is taken. URLs are downloaded once.

    Raises:
        MissingFileError: If it is not there.
        CheckpointError: If it cannot be read as weights.
    """
    place = local_path(str(path))
    if place.is_dir():
        return _from_folder(place)
    try:
        if place.suffix == ".safetensors":
            return safetensors.torch.load_file(place)
        if place.suffix == ".pkl":
            return _tensors(load(place), place)
        return _tensors(torch.load(place, map_location="cpu", weights_only=True), place)
    except CheckpointError:
        raise
    except Exception as error:  # each format has its own errors for a damaged file
        raise CheckpointError(
            f"cannot read weights from {place} ({place.stat().st_size} bytes): {error}; "
            f"the file is truncated or of another format"
        ) from error


def load_model_weights(model: nn.Module, path: str | Path, *, partial: bool = False) -> LoadReport:
    """Load weights from a file or folder into a model; :func:`read_weights` says which.

    Args:
        model: Changed in place, unless an error is raised.
        path: Where the weights are.
        partial: Load what fits and leave the rest of the model as it is.

    Raises:
        CheckpointError: If they do not fit and ``partial`` is not set, with a table of what is
            missing, unexpected, or of another shape.
    """
    return load_weights(model, read_weights(path), source=str(path), partial=partial)


@torch.no_grad()
def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, source: str, partial: bool = False
) -> LoadReport:
    """Load named tensors into a model; see :func:`load_model_weights`."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    fitting = {name: weights[name] for name, shape in given.items() if wanted.get(name) == shape}
    aliases = _aliases(model)
    covered = {aliases[name] for name in given if name in aliases}
    misfits = [
        Misfit(name, given.get(name), wanted.get(name))
        for name in [*wanted, *(name for name in given if name not in wanted)]
        if wanted.get(name) != given.get(name)
        and not (name in wanted and name not in given and aliases[name] in covered)
        # Counters of BatchNorm, which only a momentum of None reads; old files have none.
        and not name.endswith("num_batches_tracked")
    ]
    report = LoadReport(source, len(fitting), misfits)
    if misfits and not partial:
        raise CheckpointError(
            f"{source} does not fit the model {type(model).__name__}:\n{report.table()}\n{report}"
        )
    model.load_state_dict(fitting, strict=False)
    return report


def _aliases(model: nn.Module) -> dict[str, str]:
    """For each name in the state, the first name under which the same tensor stands."""
    first: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.numel():
            key: tuple[Any, ...] = (tensor.data_ptr(), tensor.shape, tensor.stride())
        else:
            key = (name,)
        aliases[name] = first.setdefault(key, name)
    return aliases


def _from_folder(folder: Path) -> dict[str, Tensor]:
    if list_checkpoints(folder / "checkpoints"):
        folder = folder / "checkpoints"
    if list_checkpoints(folder):
        checkpoint = read_latest(folder)
        assert checkpoint is not None
        return checkpoint.weights
    if folder.name.startswith("step_"):
        return read_checkpoint(folder).weights
    if (folder / WEIGHTS).exists():
        return read_weights(folder / WEIGHTS)
    raise CheckpointError(
        f"there are no weights in {folder}; expected {WEIGHTS}, or folders step_... that hold it"
    )


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the named tensors in what a training script stored."""
    for key in ("model", "state_dict", "model_state"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no named tensors but a {type(content).__name__}")
    strange = [name for name, v in content.items() if not isinstance(v, Tensor | np.ndarray)]
    if strange:
        kind = type(content[strange[0]]).__name__
        raise CheckpointError(f"{path} holds {strange[0]!r}, a {kind}, where a tensor is expected")
    # Written by a distributed wrapper, all names start with the wrapper's.
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): torch.as_tensor(v) for name, v in content.items()}
