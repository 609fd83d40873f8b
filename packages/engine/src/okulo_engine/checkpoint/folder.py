"""One folder per checkpoint, ``step_00000200``, and a parent folder that holds several.

``model.safetensors`` has the weights, ``state.pt`` the rest (plain containers and tensors), and
``SHA256SUMS`` tells a whole checkpoint from a damaged one, also by ``sha256sum -c``. A folder gets
its name only when all its bytes are on the disk.
"""

import hashlib
import io
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from attrs import frozen
from safetensors import safe_open
from torch import Tensor

from okulo_core.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "list_checkpoints",
    "prune",
    "read_checkpoint",
    "read_latest",
    "write_checkpoint",
]

WEIGHTS, STATE, SUMS = "model.safetensors", "state.pt", "SHA256SUMS"
LOADABLE = (type(None), bool, int, float, complex, str, bytes)
_logger = logging.getLogger(__name__)


@frozen(eq=False)
class Checkpoint:
    """What a checkpoint folder holds, on the CPU."""

    path: Path
    weights: dict[str, Tensor]
    state: dict[str, Any]
    metadata: dict[str, str]


def write_checkpoint(
    path: Path,
    *,
    weights: Mapping[str, Tensor],
    state: Mapping[str, Any],
    metadata: Mapping[str, str],
) -> None:
    """Write a checkpoint folder; one that stands there is replaced.

    Args:
        path: ``.../step_00000200``.
        weights: Tensors that share no memory.
        state: Of types that ``torch.load(weights_only=True)`` takes.
        metadata: Stored in the weights file.

    Raises:
        CheckpointError: If the disk is full or cannot be written; nothing else is touched then.
        TypeError: If the state has something of another type; found out later, it would make the
            checkpoint worthless.
    """
    _check_loadable(state, "state")
    # Both go through memory: the libraries' own writers hide why a write failed.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    files = {
        WEIGHTS: safetensors.torch.save(dict(weights), dict(metadata)),
        STATE: buffer.getvalue(),
    }
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    files[SUMS] = "".join(sums).encode()

    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, data in files.items():
            _write_through(unfinished / name, data)
        _sync_folder(unfinished)
        _remove(path)
        unfinished.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise CheckpointError(_cannot_write(path, error)) from error


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, damaged ones included, from the oldest step to the newest."""
    return sorted(path for path in folder.glob("step_*") if path.is_dir())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        CheckpointError: If a file is missing, truncated or otherwise damaged.
    """
    try:
        lines = (path / SUMS).read_text().splitlines()
        sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
        files = {name: (path / name).read_bytes() for name in (WEIGHTS, STATE)}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} is incomplete: {error}") from error
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != sums.get(name):
            raise CheckpointError(
                f"the checkpoint {path} is damaged: {name} ({len(data)} bytes) is truncated or "
                f"changed, its SHA-256 is not that of {SUMS}"
            )
    with safe_open(path / WEIGHTS, "pt") as file:
        metadata = file.metadata() or {}
    return Checkpoint(
        path=path,
        weights=safetensors.torch.load(files[WEIGHTS]),
        state=torch.load(io.BytesIO(files[STATE]), map_location="cpu", weights_only=True),
        metadata=metadata,
    )


def read_latest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; None if there is no checkpoint at all.

    Raises:
        CheckpointError: If there are checkpoints and all are damaged.
    """
    problems: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            _logger.warning("%s; falling back to %s", problem, path)
        return checkpoint
    if problems:
        raise CheckpointError("no checkpoint can be read:\n  " + "\n  ".join(problems))
    return None


def prune(folder: Path, *, keep: int, newest: Path) -> None:
    """Delete all but the ``keep`` latest checkpoints up to ``newest``, and what a kill left over.

    Later ones are not counted: a run that fell back to ``newest`` found them damaged.
    """
    kept = [path for path in list_checkpoints(folder) if path.name <= newest.name]
    for path in kept[:-keep]:
        _remove(path)
    for path in folder.glob(".step_*"):
        shutil.rmtree(path, ignore_errors=True)


def _check_loadable(value: Any, path: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_loadable(key, f"{path}: key")
            _check_loadable(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_loadable(item, f"{path}[{index}]")
    # Exactly these: numpy's float64 is a float too, and torch.load refuses it.
    elif not isinstance(value, Tensor) and type(value) not in LOADABLE:
        raise TypeError(
            f"a checkpoint holds plain containers, numbers, strings and tensors, but {path} is "
            f"{value!r} of type {type(value).__module__}.{type(value).__qualname__}"
        )


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make renames and new names in a folder outlive a power cut; Windows has no such call."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Delete a folder in such a way that a kill leaves it whole or out of sight."""
    if path.exists():
        doomed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> str:
    earlier = [str(other) for other in list_checkpoints(path.parent) if other.name < path.name]
    intact = f"; {earlier[-1]} is intact" if earlier else ""
    return (
        f"cannot write the checkpoint {path}: {error.strerror or error}{intact}; "
        f"make room there and continue with --resume"
    )
