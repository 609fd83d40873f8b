"""Plain data to configurations: strict, and with every fault reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import attrs
from attrs import NOTHING, Attribute

from okulo_core.catalog import Catalog
from okulo_core.config.faults import INVALID, Faults, join
from okulo_core.config.fields import config_fields, default_of, field_type, kind_of
from okulo_core.config.merging import Edits
from okulo_core.config.values import Values, collected
from okulo_core.config.versions import upgraded
from okulo_core.errors import ComponentError, ConfigError, did_you_mean, with_article, words_of

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
    return cast("T", _run(catalog, lambda s: s.config(data, cls, None, "")))


def structure_part(data: Mapping[str, Any], kind: str, catalog: Catalog) -> Any:
    """Make the configuration of one component, whose ``type`` chooses the class.

    Raises:
        ConfigError: As :func:`structure`.
    """
    return _run(catalog, lambda s: s.part(data, kind, None, ""))


def _run(catalog: Catalog, read: Callable[[_Structurer], Any]) -> Any:
    structurer = _Structurer(catalog)
    result = read(structurer)
    if structurer.faults.problems:
        raise ConfigError(structurer.faults.problems)
    return result


class _Structurer:
    """One pass over the data; each method returns a value, or INVALID after noting why."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.faults = Faults()
        self.values = Values(self.faults, self.config)

    def config(self, data: Any, cls: type, default: Any, path: str) -> Any:
        """An instance of ``cls``; what ``data`` leaves out comes from ``default``, if any."""
        if not isinstance(data, Mapping):
            return self.faults.wrong(path, f"a mapping with the keys of {cls.__name__}", data)
        before = len(self.faults.problems)
        data = upgraded(data, cls, path, self.faults)
        if data is INVALID:
            return INVALID
        fields = config_fields(cls)
        for key in data:
            if key not in fields:
                self.faults.note(join(path, key), f"unknown key{did_you_mean(str(key), fields)}")
        values = {}
        for name, attribute in fields.items():
            here = join(path, name)
            current = default_of(attribute)
            if default is not None:
                current = values[name] = getattr(default, attribute.name)
            if name in data:
                values[name] = self.field(data[name], cls, attribute, current, here)
            elif default is None and attribute.default is NOTHING:
                values[name] = self.faults.note(here, "is required and has no default")
        return self.made(cls, values, path, len(self.faults.problems) == before)

    def made(self, cls: type, values: dict[str, Any], path: str, sound: bool) -> Any:
        """The instance, or INVALID after noting every fault that its validators find."""
        if not sound:
            self.validate(cls, values, path)
            return INVALID
        try:
            return cls(**values)
        except Exception as error:
            known = len(self.faults.problems)
            self.validate(cls, values, path)
            if len(self.faults.problems) == known:  # the class's own check of several fields
                self.faults.note(path, f"{cls.__name__}: {words_of(error)}")
            return INVALID

    def validate(self, cls: type, values: dict[str, Any], path: str) -> None:
        """Run each field's validator by itself, so that none hides the fault of another."""
        draft: Any = object.__new__(cls)
        ready = []
        for name, attribute in config_fields(cls).items():
            value = values[name] if name in values else default_of(attribute)
            if value is INVALID or value is NOTHING:
                continue
            try:
                if callable(attribute.converter):
                    value = attribute.converter(value)
            except Exception as error:
                self.faults.note(join(path, name), words_of(error))
                continue
            object.__setattr__(draft, attribute.name, value)
            ready.append((join(path, name), attribute, value))
        for here, attribute, value in ready:
            try:
                if attribute.validator is not None:
                    attribute.validator(draft, attribute, value)
            except AttributeError:  # it looks at a field whose own fault is noted
                continue
            except Exception as error:
                self.faults.note(here, words_of(error))

    def field(
        self, data: Any, cls: type, attribute: Attribute[Any], default: Any, path: str
    ) -> Any:
        kind = kind_of(attribute)
        if kind and attribute.metadata.get("many"):
            as_mapping = isinstance(default_of(attribute), Mapping)
            return self.parts(data, kind, default, path, as_mapping)
        if kind and data is None and attribute.metadata.get("optional"):
            return None
        if kind:
            return self.part(data, kind, default, path)
        try:
            return self.values.read(data, field_type(cls, attribute), default, path)
        except ComponentError as error:  # the annotation cannot be read
            return self.faults.note(path, str(error))

    def part(self, data: Any, kind: str, default: Any, path: str) -> Any:
        """A component's configuration, of the default's class unless ``type`` names another."""
        if not isinstance(data, Mapping):
            hint = f"{{type: {data}}}" if isinstance(data, str) else "a mapping with the key 'type'"
            return self.faults.wrong(path, f"{hint} for {with_article(kind)}", data)
        rest = {key: value for key, value in data.items() if key != "type"}
        if "type" not in data:
            if not attrs.has(type(default)):
                names = sorted({item.name for _, item in self.catalog.components(kind)})
                known = f"; there are: {', '.join(names)}" if names else ""
                return self.faults.note(
                    path, f"needs the key 'type' to choose {with_article(kind)}{known}"
                )
            return self.config(rest, type(default), default, path)
        name = data["type"]
        if not isinstance(name, str):
            return self.faults.wrong(join(path, "type"), f"the name of {with_article(kind)}", name)
        try:
            cls = self.catalog.config_class(kind, name)
        except ComponentError as error:
            return self.faults.note(join(path, "type"), str(error))
        return self.config(rest, cls, default if type(default) is cls else None, path)

    def parts(self, data: Any, kind: str, default: Any, path: str, as_mapping: bool) -> Any:
        """Several configurations of a kind; all are stated, unless single items are edited."""

        def read(value: Any, key: Any, current: Any, here: str) -> Any:
            return self.part(value, kind, current, here)

        edits = isinstance(data, Edits)
        if as_mapping and isinstance(data, Mapping):
            kept = dict(default) if edits and isinstance(default, Mapping) else {}
            for key, value in data.items():
                kept[str(key)] = read(value, key, kept.get(key), join(path, key))
            return collected(dict, kept.items())
        if as_mapping:
            return self.faults.wrong(
                path, f"a mapping from names to {with_article(kind)} each", data
            )
        if isinstance(data, Edits):
            return self.values.edited(data, default, read, path)
        if isinstance(data, list | tuple):
            items = enumerate(data)
            return collected(tuple, [read(v, i, None, join(path, i)) for i, v in items])
        return self.faults.wrong(
            path, f"a list of mappings with the key 'type', each {with_article(kind)}", data
        )
