"""Plain data to configurations: strict, and with every fault reported at once.

cattrs walks through the classes and gathers the faults; what is added here is how a component is
chosen by ``type``, and what a mapping leaves to the default that it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache, partial
from typing import Any, TypeVar

import attrs
from attrs import NOTHING, Attribute, frozen
from cattrs import BaseValidationError, Converter
from cattrs.gen import make_dict_structure_fn_from_attrs

from okulo_core.catalog import Catalog
from okulo_core.config.faults import Fault, problems, wrong
from okulo_core.config.fields import Part, config_fields, default_of, field_type
from okulo_core.config.merging import Over, laid
from okulo_core.config.values import register_values, unreadable
from okulo_core.config.versions import upgraded
from okulo_core.errors import ComponentError, ConfigError, with_article

__all__ = ["structure", "structure_part"]

T = TypeVar("T")


def structure(data: Mapping[str, Any], cls: type[T], catalog: Catalog) -> T:
    """Make a ``cls`` from plain data.

    Scalars are taken as they are, never converted, except an int for a float. A mapping for a
    field that holds a configuration states only what differs from the field's default, unless its
    ``type`` names another component.

    Args:
        data: A mapping as a configuration file holds it.
        cls: A frozen attrs class.
        catalog: Where ``type`` is looked up.

    Raises:
        ConfigError: Lists every fault with its path, the value received and the nearest name.
    """
    try:
        return _converter(catalog).structure(data, cls)
    except (BaseValidationError, Fault) as error:
        raise ConfigError(problems(error)) from None


def structure_part(data: Mapping[str, Any], kind: str, catalog: Catalog) -> Any:
    """Make the configuration of one component, whose ``type`` chooses the class.

    Raises:
        ConfigError: As :func:`structure`.
    """
    part: Any = Part(kind)
    return structure(data, part, catalog)


@lru_cache(maxsize=8)  # cattrs writes and compiles a function for each class, once a converter
def _converter(catalog: Catalog) -> Converter:
    converter = Converter(forbid_extra_keys=True, structure_fallback_factory=lambda _: unreadable)
    register_values(converter)
    converter.register_structure_hook_factory(
        lambda t: isinstance(t, type) and attrs.has(t), _config
    )
    converter.register_structure_hook_func(
        lambda t: isinstance(t, _Field), lambda given, field: field.read(*given, converter)
    )
    converter.register_structure_hook_func(
        lambda t: isinstance(t, Part), partial(_part, catalog, converter)
    )
    return converter


def _part(catalog: Catalog, converter: Converter, data: Any, part: Part) -> Any:
    """A component's configuration, of the default's class unless ``type`` names another."""
    if attrs.has(type(data)) or (data is None and part.optional):
        return data
    if not isinstance(data, Mapping):
        hint = f"{{type: {data}}}" if isinstance(data, str) else "a mapping with the key 'type'"
        raise wrong(f"{hint} for {with_article(part.kind)}", data)
    default = data.default if isinstance(data, Over) else None
    cls = _named(data["type"], part.kind, catalog) if "type" in data else type(default)
    if cls is type(None):
        names = sorted({item.name for _, item in catalog.components(part.kind)})
        known = f"; there are: {', '.join(names)}" if names else ""
        raise Fault(f"needs the key 'type' to choose {with_article(part.kind)}{known}")
    rest = {key: value for key, value in data.items() if key != "type"}
    return converter.structure(Over(rest, default), cls)


def _named(name: Any, kind: str, catalog: Catalog) -> type:
    if not isinstance(name, str):
        raise wrong(f"the name of {with_article(kind)}", name, "type")
    try:
        return catalog.config_class(kind, name)
    except ComponentError as error:
        raise Fault(str(error), "type") from None


def _config(cls: type, converter: Converter) -> Callable[[Any, Any], Any]:
    """The hook that makes a ``cls``; what the data leaves out comes from its default, if any."""
    fields = config_fields(cls)
    attributes = [item.evolve(name=key, type=_Field(cls, item)) for key, item in fields.items()]
    read: Any = make_dict_structure_fn_from_attrs(attributes, cls, converter)

    def structure(data: Any, _: Any) -> Any:
        if isinstance(data, cls):  # an item of a default list
            return data
        if not isinstance(data, Mapping):
            raise wrong(f"a mapping with the keys of {cls.__name__}", data)
        default = data.default if isinstance(data, Over) else None
        given = upgraded(data, cls)
        for key, item in fields.items():
            if type(default) is cls:
                given[key] = given.get(key, NOTHING), getattr(default, item.name)
            elif key in given:
                given[key] = given[key], default_of(item)
        return read(given, cls)

    return structure


@frozen(eq=False)
class _Field:
    """A field of a class, in the place of its type: the converter's key to :meth:`read`."""

    cls: type
    attribute: Attribute[Any]

    @cached_property
    def type(self) -> Any:
        return field_type(self.cls, self.attribute)

    def read(self, data: Any, default: Any, converter: Converter) -> Any:
        """The value that the data states, which changes the default, or else the default."""
        if data is NOTHING:
            return default
        value = converter.structure(laid(data, default), self.type)
        if self.attribute.validator is not None and self.attribute.converter is None:
            # The class runs it again, but stops at the first fault. Here it sees no other fields.
            with suppress(AttributeError):
                self.attribute.validator(None, self.attribute, value)
        return value
