"""Logging set up once, by a program's entry point; libraries only ask for their logger."""

import logging
import sys
from pathlib import Path

__all__ = ["setup_logging"]

_FORMAT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"
_DATE = "%m/%d %H:%M:%S"


def setup_logging(level: int | str = "INFO", file: str | Path | None = None, rank: int = 0) -> None:
    """Send log records to standard error and, if asked, to a file; a later call replaces this.

    Args:
        level: Lowest level that is shown, such as ``"DEBUG"``.
        file: Appended to. Processes other than the first write to ``<file>.rank<N>``.
        rank: Number of this process; all but 0 show only warnings on standard error.
    """
    console = logging.StreamHandler(sys.stderr)
    if rank > 0:
        console.setLevel(logging.WARNING)
    handlers: list[logging.Handler] = [console]
    if file is not None:
        path = Path(file) if rank == 0 else Path(f"{file}.rank{rank}")
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    logging.basicConfig(level=level, format=_FORMAT, datefmt=_DATE, handlers=handlers, force=True)
