"""Fields of a configuration that hold other components' configurations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

import attrs
from attrs import NOTHING, Attribute, Factory, frozen

from okulo_core.errors import ComponentError, with_article

__all__ = ["Part", "config_fields", "default_of", "field_type", "kind_of", "part", "parts"]


@frozen
class Part:
    """The type of a value that is the configuration of one component."""

    kind: str
    optional: bool = False


def part(
    kind: str,
    default: Any = NOTHING,
    *,
    factory: Callable[[], Any] | None = None,
    optional: bool = False,
) -> Any:
    """A field that holds the configuration of one component.

    Args:
        kind: The kind of component, such as ``"backbone"``.
        default: A configuration; without one the field is required.
        factory: Makes the default, in place of ``default``.
        optional: None is allowed too, and is the default unless another is given.
    """
    if optional and default is NOTHING and factory is None:
        default = None

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if not (optional and value is None):
            _check_config(kind, attribute.name, value)

    return attrs.field(
        default=default if factory is None else Factory(factory),
        validator=check,
        metadata={"kind": kind, "optional": optional},
    )


def parts(kind: str, default: Any = (), *, factory: Callable[[], Any] | None = None) -> Any:
    """A field that holds configurations of one kind: a tuple, or a dictionary where annotated so.

    Args:
        kind: The kind of component, such as ``"augmentation"``.
        default: The configurations, none unless given; ``attrs.NOTHING`` makes the field required.
        factory: Makes the default, in place of ``default``; ``dict`` for a dictionary.
    """

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, tuple | Mapping):
            raise TypeError(
                f"{attribute.name}: expected a tuple or dictionary of {kind} configurations, "
                f"got {value!r}"
            )
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_config(kind, attribute.name, item)

    return attrs.field(
        default=default if factory is None else Factory(factory),
        converter=_list_to_tuple,
        validator=check,
        metadata={"kind": kind, "many": True},
    )


def kind_of(attribute: Attribute[Any]) -> str:
    """The kind of component that a field holds, or nothing for an ordinary field."""
    return attribute.metadata.get("kind", "")


def config_fields(cls: type) -> dict[str, Attribute[Any]]:
    """The fields that files may state, by their name there."""
    return {item.alias: item for item in attrs.fields(cls) if item.init}


def default_of(attribute: Attribute[Any]) -> Any:
    """A field's default value, or ``attrs.NOTHING``."""
    default: Any = attribute.default
    if isinstance(default, Factory):  # type: ignore[arg-type]
        return NOTHING if default.takes_self else default.factory()
    return default


def field_type(cls: type, attribute: Attribute[Any]) -> Any:
    """A field's type, also where annotations are text; with :class:`Part` where it holds those.

    Raises:
        ComponentError: The text names nothing in the class's module.
    """
    if kind := kind_of(attribute):
        if not attribute.metadata.get("many"):
            return Part(kind, optional=attribute.metadata.get("optional", False))
        named = isinstance(default_of(attribute), Mapping)
        return dict[str, Part(kind)] if named else tuple[Part(kind), ...]  # type: ignore[misc]
    holder = SimpleNamespace(__annotations__={attribute.name: attribute.type})
    try:
        return get_type_hints(holder, vars(sys.modules[cls.__module__]))[attribute.name]
    except NameError as error:
        raise ComponentError(
            f"{cls.__qualname__}.{attribute.name} has the type {attribute.type!r}, which cannot "
            f"be read: {error}; import it at the top of {cls.__module__}"
        ) from error


def _list_to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_config(kind: str, name: str, value: Any) -> None:
    if not attrs.has(type(value)) or not callable(getattr(value, "build", None)):
        raise TypeError(
            f"{name}: expected the configuration of {with_article(kind)}, "
            f"a frozen attrs class with build(), got {value!r}"
        )
