"""Checkpoints: folders written whole or not at all, and weights that say how they fit."""

from okulo_engine.checkpoint.folder import (
    Checkpoint,
    list_checkpoints,
    prune,
    read_checkpoint,
    read_latest,
    write_checkpoint,
)
from okulo_engine.checkpoint.weights import (
    load_model_weights,
    model_weights,
    read_weights,
    weights_file,
    write_weights,
)

__all__ = [
    "Checkpoint",
    "list_checkpoints",
    "load_model_weights",
    "model_weights",
    "prune",
    "read_checkpoint",
    "read_latest",
    "read_weights",
    "weights_file",
    "write_checkpoint",
    "write_weights",
]
