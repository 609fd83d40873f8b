"""Weights of a model: to a file, and from a file or a run's folder into a model."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from okulo_core.errors import CheckpointError
from okulo_core.io import atomic_write, local_path
from okulo_core.weights import LoadReport, load_weights, names_of_tensors, read_weight_file
from okulo_engine.checkpoint.folder import WEIGHTS, list_checkpoints, read_checkpoint, read_latest

__all__ = [
    "load_model_weights",
    "model_weights",
    "read_weights",
    "weights_file",
    "write_weights",
]


def model_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model as safetensors takes it: on the CPU, dense, sharing no memory.

    A tensor with several names is stored under the first of them.

    Raises:
        TypeError: If the state has something else than tensors.
    """
    weights: dict[str, Tensor] = {}
    aliases = names_of_tensors(model)
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
        path: Where they are; :func:`weights_file` says which file is taken.

    Raises:
        MissingFileError: If it is not there.
        CheckpointError: If it cannot be read as weights.
    """
    return read_weight_file(weights_file(path))


def weights_file(path: str | Path) -> Path:
    """Find the local file that a path to weights stands for.

    Args:
        path: A file or URL of :func:`~okulo_core.weights.read_weight_file`; a checkpoint folder;
            or a folder with checkpoints or a run's output, of which the newest whole one is
            taken.

    Raises:
        MissingFileError: If it is not there.
        CheckpointError: If a folder has no weights, or its checkpoints are damaged.
    """
    place = local_path(str(path))
    return _in_folder(place) if place.is_dir() else place


def load_model_weights(model: nn.Module, path: str | Path, *, partial: bool = False) -> LoadReport:
    """Load weights from a file or folder into a model; see :func:`weights_file`.

    Args:
        model: Changed in place, unless an error is raised.
        path: Where the weights are.
        partial: Load what fits and leave the rest of the model as it is.

    Raises:
        CheckpointError: If they do not fit and ``partial`` is not set, with a table of what is
            missing, unexpected, or of another shape.
    """
    return load_weights(model, read_weights(path), source=str(path), partial=partial)


def _in_folder(folder: Path) -> Path:
    if list_checkpoints(folder / "checkpoints"):
        folder = folder / "checkpoints"
    if list_checkpoints(folder):
        checkpoint = read_latest(folder)
        assert checkpoint is not None
        return checkpoint.path / WEIGHTS
    if folder.name.startswith("step_"):
        return read_checkpoint(folder).path / WEIGHTS
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS
    raise CheckpointError(
        f"there are no weights in {folder}; expected {WEIGHTS}, or folders step_... that hold it"
    )
