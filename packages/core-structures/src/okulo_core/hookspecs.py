"""The contract between Okulo and its plugins; importing this imports no torch."""

from typing import Any

import pluggy
from attrs import field, frozen
from attrs.validators import matches_re

__all__ = [
    "Command",
    "Component",
    "hookimpl",
    "hookspec",
    "okulo_commands",
    "okulo_components",
    "okulo_resolve_path",
    "okulo_run_hooks",
]

hookspec = pluggy.HookspecMarker("okulo")
hookimpl = pluggy.HookimplMarker("okulo")


@frozen(kw_only=True)
class Component:
    """One thing that a configuration can name.

    The target is a string so that listing components imports nothing heavy.
    """

    kind: str = field(validator=matches_re(r"[a-z][a-z_]*"))  # "loss", "backbone", "dataset"
    name: str = field(validator=matches_re(r"[a-z0-9][a-z0-9_.-]*"))
    config: str = field(validator=matches_re(r"[\w.]+:\w+"))  # "package.module:ConfigClass"
    summary: str = ""


@frozen(kw_only=True)
class Command:
    """One command of the command line ``okulo``.

    ``module`` offers ``add_arguments(parser)`` and ``run(args) -> int``; at import it loads nothing
    heavy, so that ``okulo --help`` answers at once.
    """

    name: str = field(validator=matches_re(r"[a-z][a-z0-9-]*"))
    module: str = field(validator=matches_re(r"[\w.]+"))
    summary: str = ""


@hookspec
def okulo_components() -> list[Component]:  # type: ignore[empty-body]
    """Return the components this distribution provides."""


@hookspec
def okulo_commands() -> list[Command]:  # type: ignore[empty-body]
    """Return the commands this distribution adds to the command line."""


@hookspec
def okulo_run_hooks(config: Any) -> list[Any]:  # type: ignore[empty-body]
    """Return hooks that observe every training run; ``config`` is the run's configuration."""


@hookspec(firstresult=True)
def okulo_resolve_path(path: str) -> str | None:
    """Turn a path of the plugin's own scheme (``recipe://shapes``) into one that opens, or None."""
