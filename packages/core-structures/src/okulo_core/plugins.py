"""Finding plugins: entry points of the group ``okulo``, loaded one by one."""

from __future__ import annotations

import os
import re
import traceback
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy
from attrs import evolve, frozen

from okulo_core import hookspecs
from okulo_core.catalog import Catalog
from okulo_core.errors import OkuloError, PluginError, PluginWarning, did_you_mean, words_of
from okulo_core.hookspecs import Command, Component

__all__ = ["PluginState", "Plugins"]


@frozen(kw_only=True)
class PluginState:
    """What became of one distribution with an entry point in the group ``okulo``."""

    distribution: str
    version: str
    module: str
    status: Literal["loaded", "broken", "blocked"]
    error: str = ""  # why it is broken or blocked, in one line
    traceback: str = ""


class Plugins:
    """The plugins of one process; starts empty, see :meth:`installed`.

    Attributes:
        hook: The hook callers of pluggy, such as ``hook.okulo_run_hooks(config=...)``.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("okulo")
        self._manager.add_hookspecs(hookspecs)
        self._states: list[PluginState] = []
        self._components: list[tuple[str, Component]] = []
        self._commands: list[tuple[str, Command]] = []
        self.hook = self._manager.hook

    @classmethod
    def installed(cls, *, allow: Iterable[str] | None = None, strict: bool = False) -> Plugins:
        """Load the plugins of the installed distributions.

        A broken plugin is left out with one warning; its state keeps the traceback.

        Args:
            allow: Names of the distributions to load; the others are blocked. None reads the
                environment variable ``OKULO_PLUGINS``, a list with commas; unset allows all,
                and empty allows none.
            strict: Raise for the first broken plugin.

        Raises:
            PluginError: A plugin is broken, or an allowed one is not installed; in strict mode.
        """
        source, allowed = _allowed(allow)
        plugins = cls()
        found = sorted((*_owner(entry), entry) for entry in entry_points(group="okulo"))
        for distribution, version, entry in found:
            if allowed is not None and _normalized(distribution) not in allowed:
                plugins._states.append(
                    PluginState(
                        distribution=distribution,
                        version=version,
                        module=entry.value,
                        status="blocked",
                        error=f"not in {source}",
                    )
                )
            else:
                load = _loader(distribution, entry)
                plugins._add(distribution, version, entry.value, load, strict=strict)
        present = {_normalized(distribution) for distribution, _, _ in found}
        for name in sorted((allowed or set()) - present):
            plugins._add(name, "", "", _absent(name, source), strict=strict)
        return plugins

    @property
    def states(self) -> tuple[PluginState, ...]:
        """Every plugin found, in the order of their distributions."""
        return tuple(self._states)

    def register(self, distribution: str, plugin: Any, *, version: str = "") -> None:
        """Add a plugin by hand: a module or object with hook implementations.

        Raises:
            PluginError: The plugin is broken.
        """
        if any(state.distribution == distribution for state in self._states):
            raise PluginError(f"plugin {distribution} is registered already")
        module = getattr(plugin, "__name__", type(plugin).__name__)
        self._add(distribution, version, module, lambda: plugin, strict=True)

    def commands(self) -> list[tuple[str, Command]]:
        """Distribution and command, sorted by the command's name."""
        return sorted(self._commands, key=lambda item: (item[1].name, item[0]))

    def catalog(self) -> Catalog:
        """The components of the loaded plugins."""
        return Catalog(self._components, self._states)

    def resolve_path(self, path: str) -> str:
        """Turn a plugin's path, such as ``recipe://shapes``, into one that opens; leave others."""
        return self.hook.okulo_resolve_path(path=path) or path

    def _add(
        self,
        distribution: str,
        version: str,
        module: str,
        load: Callable[[], Any],
        *,
        strict: bool,
    ) -> None:
        state = PluginState(
            distribution=distribution, version=version, module=module, status="loaded"
        )
        try:
            self._take_in(distribution, load())
        # A plugin may fail in any way, sys.exit() at import included, and must not take us along.
        except (Exception, SystemExit) as failure:
            if self._manager.has_plugin(distribution):
                self._manager.unregister(name=distribution)
            state = evolve(
                state,
                status="broken",
                error=str(failure)
                if isinstance(failure, OkuloError)
                else f"{type(failure).__name__}: {words_of(failure)}",
                traceback="".join(traceback.format_exception(failure)),
            )
            message = f"plugin {distribution} {version}".rstrip() + f" is broken: {state.error}"
            if strict:
                raise PluginError(message) from failure
            warnings.warn(message, PluginWarning, stacklevel=3)
        self._states.append(state)

    def _take_in(self, distribution: str, plugin: Any) -> None:
        self._manager.register(plugin, name=distribution)
        callers = self._manager.get_hookcallers(plugin) or []
        known = [name for name in vars(self.hook) if getattr(self.hook, name).has_spec()]
        for caller in callers:
            optional = all(impl.optionalhook for impl in caller.get_hookimpls())
            if not caller.has_spec() and not optional:
                raise PluginError(f"unknown hook '{caller.name}'{did_you_mean(caller.name, known)}")
        if not callers:
            raise PluginError("no hook implementation; decorate okulo_components with @hookimpl")
        components = self._listed(distribution, "okulo_components", Component)
        commands = self._listed(distribution, "okulo_commands", Command)
        Catalog((distribution, item) for item in components)  # refuses a name listed twice
        self._components += [(distribution, item) for item in components]
        self._commands += [(distribution, item) for item in commands]

    def _listed(self, distribution: str, hook: str, cls: type) -> list[Any]:
        """What one plugin's listing hook returns, checked."""
        items: list[Any] = []
        for impl in getattr(self.hook, hook).get_hookimpls():
            if impl.plugin_name == distribution:
                items = impl.function()
        if not isinstance(items, list | tuple) or not all(isinstance(i, cls) for i in items):
            raise PluginError(f"{hook}() must return a list of {cls.__name__}, got {items!r}")
        return list(items)


def _normalized(name: str) -> str:
    """A distribution's name in the spelling that package indexes compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _allowed(allow: Iterable[str] | None) -> tuple[str, set[str] | None]:
    """Who restricts the plugins, and the names that may load; None is no restriction."""
    if allow is not None:
        return "the allowed plugins", {_normalized(name) for name in allow}
    text = os.environ.get("OKULO_PLUGINS")
    if text is None:
        return "", None
    return "OKULO_PLUGINS", {_normalized(name.strip()) for name in text.split(",") if name.strip()}


def _owner(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that declares an entry point."""
    return (entry.dist.name, entry.dist.version) if entry.dist else (entry.name, "")


def _loader(distribution: str, entry: EntryPoint) -> Callable[[], Any]:
    def load() -> Any:
        if _normalized(entry.name) != _normalized(distribution):
            raise PluginError(
                f"its entry point is named '{entry.name}', expected the distribution's own name; "
                f'write {distribution} = "{entry.value}" under [project.entry-points.okulo]'
            )
        return entry.load()

    return load


def _absent(name: str, source: str) -> Callable[[], Any]:
    def load() -> Any:
        raise PluginError(f"{source} names it, but it is not installed; pip install {name}")

    return load
