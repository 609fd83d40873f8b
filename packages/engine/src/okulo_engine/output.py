"""The output folder of a run: whose it is, and what is written there before the first step."""

import json
import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from okulo_core.catalog import Catalog
from okulo_core.config import diff, read_file, save_config, unstructure
from okulo_core.distributed import broadcast_object, get_rank, is_main_process
from okulo_core.errors import OkuloError
from okulo_core.io import atomic_write
from okulo_core.logging import setup_logging
from okulo_engine.checkpoint import list_checkpoints
from okulo_engine.run_config import RunConfig

__all__ = ["CHECKPOINTS", "claim_output", "environment", "log_file"]

CHECKPOINTS, CONFIG = "checkpoints", "config.yaml"
_logger = logging.getLogger(__name__)


def claim_output(output: Path, config: RunConfig, catalog: Catalog, *, resume: bool) -> None:
    """Make the folder and write ``config.yaml`` and ``environment.json``; on all processes.

    Raises:
        OkuloError: If it holds another run that is not to be resumed.
    """
    refusal = _refusal(output) if is_main_process() and not resume else ""
    refusal = broadcast_object(refusal)  # before the main process writes: others would see a run
    if refusal:
        raise OkuloError(refusal)
    if not is_main_process():
        return
    if (output / CONFIG).exists():
        _log_changes(read_file(output / CONFIG), unstructure(config, catalog))
    save_config(config, output / CONFIG, catalog)
    with atomic_write(output / "environment.json") as file:
        json.dump(environment(), file, indent=2)


def environment() -> dict[str, Any]:
    """Versions and hardware that a result may depend on, as plain data."""
    wanted = {"torch", "torchvision", "numpy"}
    versions = {
        dist.name: dist.version
        for dist in metadata.distributions()
        if dist.name in wanted or dist.name.startswith("okulo-")
    }
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": dict(sorted(versions.items())),
        "threads": torch.get_num_threads(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append log records to a file for as long as the block lasts; other processes to their own."""
    rank = get_rank()
    root = logging.getLogger()
    if not root.handlers:  # called from Python and not by a program that has set up its logging
        setup_logging(rank=rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path if rank == 0 else f"{path}.rank{rank}", encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s"))
    root.addHandler(handler)
    try:
        yield
    except BaseException as error:
        _logger.error("stopped by %s: %s", type(error).__name__, error)
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def _refusal(output: Path) -> str:
    """Why the folder cannot be used; one whose run failed before its first step still can."""
    if (output / "metrics.jsonl").exists() or list_checkpoints(output / CHECKPOINTS):
        return (
            f"{output} holds another run; continue that one with --resume, or choose another "
            f"folder with --output"
        )
    return ""


def _log_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    for change in diff(old, new):
        _logger.warning("the configuration has changed since the run began: %s", change)
