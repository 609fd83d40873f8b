"""Names of files: home folders, data set folders, and URLs."""

import os
import re
from pathlib import Path

__all__ = ["is_url", "resolve"]

DATASETS = "datasets://"


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` names a file of a remote system, ``protocol://...``; ``file://`` is not."""
    match = re.match(r"([a-z][a-z0-9+.-]+)(::|://)", str(path))
    return match is not None and match[1] not in ("file", "local")


def resolve(path: str | os.PathLike[str]) -> str:
    """Turn a path as people write it into one that opens.

    ``~`` is the home folder; ``datasets://x/y`` is ``x/y`` in the folder ``OKULO_DATASETS``, by
    default ``./datasets``; ``file://`` is taken off. Everything else stays as it is.
    """
    text = os.fspath(path)
    if text.startswith(DATASETS):
        root = os.environ.get("OKULO_DATASETS", "datasets")
        text = f"{root.rstrip('/')}/{text.removeprefix(DATASETS)}"
    if is_url(text):
        return text
    return str(Path(text.removeprefix("file://")).expanduser())
