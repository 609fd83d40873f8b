"""Plain data to configurations: strict, and with every fault reported at once."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
from attrs import NOTHING, Attribute

from okulo_core.catalog import Catalog
from okulo_core.config.fields import config_fields, default_of, field_type, kind_of
from okulo_core.config.merging import Edits
from okulo_core.errors import ComponentError, ConfigError, did_you_mean

__all__ = ["enum_text", "structure", "structure_part", "version_of"]

T = TypeVar("T")
_INVALID: Any = object()  # stands for a value whose fault has been reported
_ACCEPTED: dict[type, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
}


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


def version_of(cls: type) -> int:
    """The version of the shape of ``cls``; 1 unless it says otherwise."""
    return getattr(cls, "VERSION", 1)


def enum_text(member: Enum) -> str:
    """How files state a member: its value where that is text, else its name."""
    return member.value if isinstance(member.value, str) else member.name


def _run(catalog: Catalog, make: Callable[[_Structurer], Any]) -> Any:
    structurer = _Structurer(catalog)
    result = make(structurer)
    if structurer.problems:
        raise ConfigError(structurer.problems)
    return result


class _Structurer:
    """One pass over the data; each method returns a value, or _INVALID after noting why."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.problems: list[str] = []

    def fault(self, path: str, message: str) -> Any:
        self.problems.append(f"{path}: {message}" if path else message)
        return _INVALID

    def wrong(self, path: str, expected: str, received: Any) -> Any:
        return self.fault(path, f"expected {expected}, got {_shown(received)}")

    # --- configurations

    def config(self, data: Any, cls: type, default: Any, path: str) -> Any:
        """An instance of ``cls``; what ``data`` leaves out comes from ``default``, if any."""
        if not isinstance(data, Mapping):
            return self.wrong(path, f"a mapping with the keys of {cls.__name__}", data)
        before = len(self.problems)
        data = self.upgraded(data, cls, path)
        if data is _INVALID:
            return _INVALID
        fields = config_fields(cls)
        for key in data:
            if key not in fields:
                self.fault(_join(path, key), f"unknown key{did_you_mean(str(key), fields)}")
        values = {}
        for name, attribute in fields.items():
            here = _join(path, name)
            current = (
                getattr(default, attribute.name) if default is not None else default_of(attribute)
            )
            if name in data:
                values[name] = self.field(data[name], cls, attribute, current, here)
            elif default is not None:
                values[name] = current
            elif attribute.default is NOTHING:
                values[name] = self.fault(here, "is required and has no default")
        return self.made(cls, values, path, len(self.problems) > before)

    def made(self, cls: type, values: dict[str, Any], path: str, faulty: bool) -> Any:
        """The instance, or every fault that its validators find."""
        if not faulty:
            try:
                return cls(**values)
            except Exception as error:
                known = len(self.problems)
                self.validate(cls, values, path)
                if len(self.problems) == known:  # not a field's validator but the class's own check
                    self.fault(path, f"{cls.__name__}: {error}")
                return _INVALID
        self.validate(cls, values, path)
        return _INVALID

    def validate(self, cls: type, values: dict[str, Any], path: str) -> None:
        """Run each field's validator by itself, so that none hides another's fault."""
        draft = object.__new__(cls)
        valid = {}
        for name, attribute in config_fields(cls).items():
            value = values[name] if name in values else default_of(attribute)
            if value is _INVALID or value is NOTHING:
                continue
            try:
                if callable(attribute.converter):
                    value = attribute.converter(value)
            except Exception as error:
                self.fault(_join(path, name), str(error))
                continue
            object.__setattr__(draft, attribute.name, value)
            valid[name] = value
        for name, value in valid.items():
            attribute = config_fields(cls)[name]
            try:
                if attribute.validator is not None:
                    attribute.validator(draft, attribute, value)
            except AttributeError:  # it looks at a field whose own fault is reported
                continue
            except Exception as error:
                self.fault(_join(path, name), _message(error))

    def upgraded(self, data: Mapping[str, Any], cls: type, path: str) -> Any:
        """``data`` without ``version``, in the shape of the class's own version."""
        if "version" in config_fields(cls):
            return data
        rest = {key: value for key, value in data.items() if key != "version"}
        version, current = data.get("version", 1), version_of(cls)
        if type(version) is not int or not version >= 1:
            return self.wrong(_join(path, "version"), "a positive int", version)
        if version > current:
            return self.fault(
                _join(path, "version"),
                f"{version} is newer than the version {current} that the installed "
                f"{cls.__module__.partition('.')[0]} reads; upgrade it",
            )
        upgrade = getattr(cls, "upgrade", None)
        if version == current or upgrade is None:
            return rest
        try:
            return upgrade(rest, version)
        except Exception as error:
            return self.fault(path, f"cannot upgrade from version {version}: {error!r}")

    def field(
        self, data: Any, cls: type, attribute: Attribute[Any], default: Any, path: str
    ) -> Any:
        kind = kind_of(attribute)
        if not kind:
            try:
                annotation = field_type(cls, attribute)
            except ComponentError as error:
                return self.fault(path, str(error))
            return self.value(data, annotation, default, path)
        if attribute.metadata.get("many"):
            return self.parts(data, kind, default, path)
        if data is None and attribute.metadata.get("optional"):
            return None
        return self.part(data, kind, default, path)

    def part(self, data: Any, kind: str, default: Any, path: str) -> Any:
        """A component's configuration, of the default's class unless ``type`` names another."""
        if not isinstance(data, Mapping):
            hint = f" {{type: {data}}}" if isinstance(data, str) else " with the key 'type'"
            return self.wrong(path, f"the mapping{hint} for a {kind}", data)
        rest = {key: value for key, value in data.items() if key != "type"}
        if "type" not in data:
            if not attrs.has(type(default)):
                known = [component.name for _, component in self.catalog.components(kind)]
                return self.fault(
                    path, f"needs the key 'type' to choose a {kind}; there are: {', '.join(known)}"
                )
            return self.config(rest, type(default), default, path)
        name = data["type"]
        if not isinstance(name, str):
            return self.wrong(_join(path, "type"), f"the name of a {kind}", name)
        try:
            cls = self.catalog.config_class(kind, name)
        except ComponentError as error:
            return self.fault(_join(path, "type"), str(error))
        return self.config(rest, cls, default if type(default) is cls else None, path)

    def parts(self, data: Any, kind: str, default: Any, path: str) -> Any:
        def item(value: Any, current: Any, here: str) -> Any:
            return self.part(value, kind, current, here)

        if isinstance(data, Edits):
            return self.edited(data, default, item, path)
        if isinstance(data, Mapping) and "type" not in data:
            return self.collected(
                dict, ((k, item(v, None, _join(path, k))) for k, v in data.items())
            )
        if isinstance(data, list | tuple):
            return self.collected(tuple, self.items(data, lambda v, p: item(v, None, p), path))
        return self.wrong(path, f"a list of mappings with the key 'type', each a {kind}", data)

    # --- values

    def value(self, data: Any, annotation: Any, default: Any, path: str) -> Any:
        """A value of an annotated type."""
        origin, args = get_origin(annotation), get_args(annotation)
        if annotation is Any or annotation is object:
            return data
        if annotation in _ACCEPTED:
            if type(data) not in _ACCEPTED[annotation]:
                return self.wrong(path, annotation.__name__, data)
            return annotation(data)
        if annotation is None or annotation is type(None):
            return None if data is None else self.wrong(path, "null", data)
        if origin in (Union, types.UnionType):
            return self.union(data, args, default, path)
        if origin is Literal:
            return self.literal(data, args, path)
        if (origin or annotation) in (tuple, list):
            return self.sequence(data, origin or annotation, args, default, path)
        if (origin or annotation) in (dict, Mapping):
            return self.mapping(data, args or (Any, Any), default, path)
        if isinstance(annotation, type):
            if issubclass(annotation, Enum):
                return self.member(data, annotation, path)
            if issubclass(annotation, Path):
                return Path(data) if type(data) is str else self.wrong(path, "a path", data)
            if attrs.has(annotation):
                same = type(default) is annotation
                return self.config(data, annotation, default if same else None, path)
        return self.fault(path, f"a value of type {annotation} cannot be stated in a file")

    def union(self, data: Any, args: tuple[Any, ...], default: Any, path: str) -> Any:
        if data is None and type(None) in args:
            return None
        choices = [arg for arg in args if arg is not type(None)]
        if len(choices) == 1:
            return self.value(data, choices[0], default, path)
        if type(data) in choices:  # an int stays an int where float is allowed too
            return data
        outer, self.problems = self.problems, []
        try:
            for choice in choices:
                self.problems = []
                result = self.value(data, choice, default, path)
                if not self.problems:
                    return result
        finally:
            self.problems = outer
        return self.wrong(path, " or ".join(_name(choice) for choice in args), data)

    def literal(self, data: Any, args: tuple[Any, ...], path: str) -> Any:
        for arg in args:
            if type(arg) is type(data) and arg == data:
                return arg
        return self.one_of(data, [str(arg) for arg in args], args, path)

    def member(self, data: Any, enum: type[Enum], path: str) -> Any:
        members = {enum_text(member): member for member in enum}
        if isinstance(data, str) and data in members:
            return members[data]
        return self.one_of(data, list(members), tuple(members), path)

    def one_of(self, data: Any, names: list[str], choices: Iterable[Any], path: str) -> Any:
        listed = " or ".join(repr(choice) for choice in choices)
        near = did_you_mean(data, names) if isinstance(data, str) else ""
        suffix = near if "did you mean" in near else ""
        return self.fault(path, f"expected {listed}, got {_shown(data)}{suffix}")

    def sequence(self, data: Any, cls: type, args: tuple[Any, ...], default: Any, path: str) -> Any:
        fixed = cls is tuple and Ellipsis not in args and bool(args)

        def item(value: Any, index: int, current: Any, here: str) -> Any:
            return self.value(value, args[index if fixed else 0] if args else Any, current, here)

        if isinstance(data, Edits):
            return self.edited(
                data, default, lambda v, c, p: item(v, int(p.rpartition(".")[2]), c, p), path
            )
        if not isinstance(data, list | tuple):
            return self.wrong(path, "a list", data)
        if fixed and len(data) != len([arg for arg in args if arg != ()]):
            return self.wrong(path, f"a list of {len(args)} items", data)
        found = (item(v, i, None, _join(path, i)) for i, v in enumerate(data))
        return self.collected(cls, found)

    def mapping(self, data: Any, args: tuple[Any, ...], default: Any, path: str) -> Any:
        if not isinstance(data, Mapping):
            return self.wrong(path, "a mapping", data)
        start = default if isinstance(data, Edits) and isinstance(default, Mapping) else {}
        found: dict[Any, Any] = dict(start)
        for key, value in data.items():
            here = _join(path, key)
            if args[0] is int and isinstance(key, str) and key.lstrip("-").isdecimal():
                key = int(key)  # JSON, TOML and dotted paths have no other keys than text
            name = self.value(key, args[0], None, here)
            found[name] = self.value(value, args[1], start.get(key), here)
        return _INVALID if _INVALID in found or _INVALID in found.values() else found

    # --- collections

    def items(self, data: Iterable[Any], make: Callable[[Any, str], Any], path: str) -> list[Any]:
        return [make(value, _join(path, index)) for index, value in enumerate(data)]

    def collected(self, cls: type, items: Iterable[Any]) -> Any:
        """A tuple, list or dictionary of the items, unless one is invalid."""
        kept = list(items)
        values = [value for _, value in kept] if cls is dict else kept
        return _INVALID if any(value is _INVALID for value in values) else cls(kept)

    def edited(
        self, edits: Edits, default: Any, make: Callable[[Any, Any, str], Any], path: str
    ) -> Any:
        """A default collection with single items changed."""
        if isinstance(default, Mapping):
            changed = {k: make(v, default.get(k), _join(path, k)) for k, v in edits.items()}
            return self.collected(dict, {**default, **changed}.items())
        kept = list(default) if isinstance(default, tuple | list) else []
        for key, value in edits.items():
            if not key.isdecimal() or int(key) >= len(kept):
                return self.fault(
                    _join(path, key), f"expected an index into a list of {len(kept)} items"
                )
            kept[int(key)] = make(value, kept[int(key)], _join(path, key))
        return self.collected(type(default), kept)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _message(error: Exception) -> str:
    """A validator's own words; those of attrs carry the attribute and more behind the text."""
    return str(error.args[0]) if error.args else repr(error)
