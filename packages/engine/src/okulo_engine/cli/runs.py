"""What the commands that concern a run share; importing this imports no torch."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from okulo_engine.cli.output import print_json, print_table

if TYPE_CHECKING:
    from okulo_engine.run_config import RunConfig

__all__ = ["add_config", "is_first_process", "load_run", "print_metrics"]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`load_run` reads."""
    parser.add_argument("config", help="file of a run, or a plugin's path such as recipe://shapes")
    parser.add_argument(
        "overrides", nargs="*", metavar="a.b=c", help="settings that replace those of the file"
    )


def load_run(args: argparse.Namespace) -> RunConfig:
    """The run that the command line describes."""
    from okulo_core.config import load_config
    from okulo_engine.run_config import RunConfig

    return load_config(
        args.config,
        RunConfig,
        args.plugins.catalog(),
        getattr(args, "overrides", ()),
        resolve=args.plugins.resolve_path,
    )


def is_first_process() -> bool:
    """Whether this process prints; asked when those that ``torchrun`` started have parted."""
    return os.environ.get("RANK", "0") == "0"


def print_metrics(results: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    """Print an evaluation, ``{"bbox": {"AP": 41.2, ...}, ...}``."""
    if as_json:
        print_json(results)
    elif results:
        rows = [
            (task, name, f"{value:.2f}")
            for task, metrics in results.items()
            for name, value in metrics.items()
        ]
        print_table(("task", "metric", "value"), rows)
