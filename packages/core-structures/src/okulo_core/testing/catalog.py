"""A catalogue that holds only what a test registers."""

from __future__ import annotations

from typing import Any

from okulo_core.catalog import Catalog
from okulo_core.plugins import Plugins

__all__ = ["IsolatedCatalog"]


class IsolatedCatalog(Catalog):
    """An empty catalogue to register plugins in; the one catalogue that changes."""

    def __init__(self) -> None:
        super().__init__(())

    def register(self, distribution: str, plugin: Any) -> None:
        """Add the components of a plugin's module or object, as if it were installed.

        Raises:
            PluginError: The plugin is broken; the message is the one a user would see.
        """
        plugins = Plugins()
        plugins.register(distribution, plugin)
        super().__init__([*self.components(), *plugins.catalog().components()])
