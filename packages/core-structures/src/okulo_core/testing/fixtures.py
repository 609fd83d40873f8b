"""Pytest fixtures for plugin authors; pytest finds them once okulo-core is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from okulo_core.plugins import Plugins
from okulo_core.testing.catalog import IsolatedCatalog
from okulo_core.testing.data import shared_path

__all__ = ["okulo_catalog", "shared"]


@pytest.fixture
def okulo_catalog(monkeypatch: pytest.MonkeyPatch) -> IsolatedCatalog:
    """An empty catalogue with ``register(distribution, plugin)``; installed plugins are refused."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            "this test uses okulo_catalog, which keeps installed plugins out; "
            "register what it needs with okulo_catalog.register(distribution, plugin)"
        )

    monkeypatch.setattr(Plugins, "installed", refuse)
    return IsolatedCatalog()


@pytest.fixture
def shared() -> Path:
    """The folder of golden and real data; skips the test where it is absent."""
    return shared_path()
