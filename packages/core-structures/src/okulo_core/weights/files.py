"""Named tensors from a file; nothing in it is executed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from okulo_core.errors import CheckpointError
from okulo_core.io import load, local_path

__all__ = ["read_weight_file"]


def read_weight_file(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors.

    Args:
        path: A ``.safetensors`` file; a ``.pkl`` of numpy arrays as detectron2 publishes them; or a
            file of ``torch.save``. Tensors may stand under ``model``, ``state_dict`` or
            ``model_state``. A URL is downloaded once.

    Returns:
        Tensors by name, without the prefix ``module.`` of models wrapped for distributed training.

    Raises:
        MissingFileError: If it is not there.
        CheckpointError: If it is damaged, or holds other objects than tensors, arrays and plain
            containers.
    """
    place = local_path(str(path))
    try:
        return _tensors(_content(place), place)
    except CheckpointError:
        raise
    except Exception as error:  # each format has its own errors for a damaged file
        raise CheckpointError(
            f"cannot read weights from {place} ({place.stat().st_size} bytes): {error}; "
            f"the file is truncated or of another format"
        ) from error


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    if path.suffix == ".pkl":
        return load(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the named tensors in what a training script stored."""
    for key in ("model", "state_dict", "model_state"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no named tensors but a {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(value, Tensor | np.ndarray | np.generic):
            kind = type(value).__name__
            raise CheckpointError(f"{path} holds {name!r}, a {kind}, where a tensor is expected")
    # Written by a distributed wrapper, all names start with the wrapper's.
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): torch.as_tensor(v) for name, v in content.items()}
