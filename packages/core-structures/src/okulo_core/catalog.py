"""Which components there are, and the configuration class behind each name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from okulo_core.errors import (
    ComponentError,
    DuplicateComponentError,
    UnknownComponentError,
    did_you_mean,
    with_article,
)
from okulo_core.hookspecs import Component
from okulo_core.known import PROVIDERS

if TYPE_CHECKING:
    from okulo_core.plugins import PluginState

__all__ = ["Catalog"]


class Catalog:
    """An immutable set of components; pass it in, never reach for a global one.

    Args:
        entries: Pairs of a distribution's name and a component that it provides.
        states: What became of each plugin; it lets an unknown name be explained.

    Raises:
        DuplicateComponentError: One distribution lists a name twice.
    """

    def __init__(
        self, entries: Iterable[tuple[str, Component]], states: Iterable[PluginState] = ()
    ) -> None:
        self._entries = tuple(entries)
        self._states = tuple(states)
        self._by_key: dict[tuple[str, str], dict[str, Component]] = {}
        for distribution, component in self._entries:
            owners = self._by_key.setdefault((component.kind, component.name), {})
            if distribution in owners:
                raise DuplicateComponentError(
                    f"{distribution} lists {component.kind} '{component.name}' twice"
                )
            owners[distribution] = component

    @classmethod
    def installed(cls, *, allow: Iterable[str] | None = None, strict: bool = False) -> Catalog:
        """Collect from the installed plugins; see :meth:`okulo_core.plugins.Plugins.installed`."""
        from okulo_core.plugins import Plugins

        return Plugins.installed(allow=allow, strict=strict).catalog()

    def kinds(self) -> list[str]:
        """Every kind of component there is, sorted."""
        return sorted({kind for kind, _ in self._by_key})

    def components(self, kind: str | None = None) -> list[tuple[str, Component]]:
        """Distribution and component, sorted by kind, name and distribution."""
        chosen = (entry for entry in self._entries if kind is None or entry[1].kind == kind)
        return sorted(chosen, key=lambda entry: (entry[1].kind, entry[1].name, entry[0]))

    def config_class(self, kind: str, name: str) -> type:
        """Import and return the configuration class of a component.

        Args:
            kind: Such as ``"backbone"``.
            name: The component's name, or ``distribution:name`` where several provide it.

        Raises:
            UnknownComponentError: No loaded plugin provides it.
            DuplicateComponentError: Several distributions provide it.
            ComponentError: The name is of another kind, or its target is no configuration class.
        """
        distribution, component = self._find(kind, name)
        return _load(distribution, component)

    def name_of(self, kind: str, config: Any) -> str:
        """The name under which files state this configuration, or its class, as a ``kind``.

        Raises:
            ComponentError: The class is not listed under ``kind``.
        """
        cls = config if isinstance(config, type) else type(config)
        target = f"{cls.__module__}:{cls.__qualname__}"
        candidates = self.components(kind)
        # Comparing text first leaves the other components of the kind unimported.
        for distribution, component in candidates:
            if component.config == target:
                return self._qualified(distribution, component)
        for distribution, component in candidates:
            # A target may be a re-export; it ends in the same name.
            same_name = component.config.endswith(f":{cls.__name__}")
            if same_name and _load(distribution, component) is cls:
                return self._qualified(distribution, component)
        raise ComponentError(
            f"{target} is not listed as {with_article(kind)}; "
            f'let a plugin list Component(kind="{kind}", name=..., config="{target}")'
        )

    def _qualified(self, distribution: str, component: Component) -> str:
        owners = self._by_key[component.kind, component.name]
        return component.name if len(owners) == 1 else f"{distribution}:{component.name}"

    def _find(self, kind: str, name: str) -> tuple[str, Component]:
        wanted, _, plain = name.rpartition(":")
        owners = self._by_key.get((kind, plain), {})
        if wanted:
            owners = {owner: item for owner, item in owners.items() if owner == wanted}
        if len(owners) > 1:
            both = " and ".join(repr(owner) for owner in sorted(owners))
            raise DuplicateComponentError(
                f"{kind} '{name}' is provided by both {both}; uninstall or block one of them, "
                f"or write '{min(owners)}:{name}'"
            )
        if not owners:
            raise self._explained(kind, name)
        return next(iter(owners.items()))

    def _explained(self, kind: str, name: str) -> ComponentError:
        """Say why there is no such component: no plugins, wrong kind, misspelt, not installed."""
        _, _, plain = name.rpartition(":")
        missing = f"no {kind} named '{name}'"
        if provider := self._provider(kind, plain):
            return UnknownComponentError(f"{missing}; {provider}")
        if not self._entries:
            return UnknownComponentError(f"{missing}: {self._why_empty()}")
        others = sorted({other for other, known in self._by_key if known == plain})
        if others and kind not in others:
            kinds = " and ".join(with_article(other) for other in others)
            return ComponentError(f"{missing}; '{plain}' is {kinds}")
        if kind not in self.kinds():
            return UnknownComponentError(
                f"{missing}: no loaded plugin provides any {kind}{self._suggested(kind)}"
            )
        entries = self.components(kind)
        names = {f"{owner}:{item.name}" if plain != name else item.name for owner, item in entries}
        return UnknownComponentError(
            f"{missing}{did_you_mean(name, sorted(names))}{self._left_out()}"
        )

    def _suggested(self, kind: str) -> str:
        """What to do about a kind that nobody provides."""
        packages = sorted({owner for (known, _), owner in PROVIDERS.items() if known == kind})
        if packages:
            return f"; {' and '.join(packages)} would: pip install {' '.join(packages)}"
        return f"{did_you_mean(kind, self.kinds())}{self._left_out()}"

    def _left_out(self) -> str:
        """Which plugins might have provided what is missing."""
        absent = [f"{s.distribution} is {s.status}" for s in self._states if s.status != "loaded"]
        return f" ({', '.join(absent)})" if absent else ""

    def _provider(self, kind: str, name: str) -> str:
        """The sentence on a plugin that would provide the component, or nothing."""
        distribution = PROVIDERS.get((kind, name))
        if distribution is None:
            return ""
        for state in self._states:
            if state.distribution == distribution and state.status == "blocked":
                return f"{distribution} provides it but is blocked ({state.error})"
            if state.distribution == distribution and state.status == "broken":
                return f"{distribution} provides it but is broken ({state.error})"
        if any(owner == distribution for owner, _ in self._entries):
            return ""  # the index is older than the distribution
        return f"{distribution} provides it but is not loaded; pip install {distribution}"

    def _why_empty(self) -> str:
        blocked = sorted(state.distribution for state in self._states if state.status == "blocked")
        broken = sorted(state.distribution for state in self._states if state.status == "broken")
        if blocked:
            return (
                f"every plugin is blocked ({', '.join(blocked)}); "
                "add them to OKULO_PLUGINS, unset it, or leave out --no-plugins"
            )
        if broken:
            return f"every plugin is broken ({', '.join(broken)}); run 'okulo doctor'"
        return "no plugin is installed; pip install okulo-modeling okulo-engine okulo-transforms"


def _load(distribution: str, component: Component) -> type:
    """Import a component's configuration class and hold it to the contract."""
    module, _, attribute = component.config.partition(":")
    label = f"{component.kind} '{component.name}' of {distribution}"
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ComponentError(
            f"{label}: cannot import {component.config}: {type(error).__name__}: {error}"
        ) from error
    if fault := config_fault(cls):
        raise ComponentError(f"{label}: {component.config} {fault}")
    return cls


def config_fault(cls: Any) -> str:
    """What keeps ``cls`` from being a configuration class, or nothing."""
    if not isinstance(cls, type) or not attrs.has(cls):
        return f"is no attrs class but {cls!r}; decorate it with @attrs.frozen(kw_only=True)"
    if not _is_frozen(cls):
        return "is not frozen; decorate it with @attrs.frozen(kw_only=True)"
    if not callable(getattr(cls, "build", None)):
        return "has no method build(...)"
    if reserved := {"type"} & {item.alias for item in attrs.fields(cls)}:
        return f"has a field {reserved.pop()!r}, a key that files use to choose the component"
    return ""


def _is_frozen(cls: type) -> bool:
    # Asking an instance works for every way of freezing and every version of attrs.
    try:
        object.__new__(cls).__setattr__("_", None)
    except attrs.exceptions.FrozenError:
        return True
    except AttributeError:  # slots
        return False
    return False
