"""Golden and real data beside the checkout."""

import os
from pathlib import Path

__all__ = ["shared_path"]


def shared_path(relative: str = "") -> Path:
    """The place of shared data, or skip the calling test with that reason.

    The root is the environment variable ``OKULO_SHARED``, else the folder ``shared`` beside the
    checkout.
    """
    root = os.environ.get("OKULO_SHARED")
    folder = Path(root) if root else _checkout().parent / "shared"
    path = folder / relative
    if not path.exists():
        import pytest

        pytest.skip(f"shared data not found: {path}; set OKULO_SHARED to the folder that holds it")
    return path


def _checkout() -> Path:
    """The repository that holds this file or, where okulo-core is installed, the current folder."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "hatch.toml").exists():
            return folder
    return Path.cwd()
