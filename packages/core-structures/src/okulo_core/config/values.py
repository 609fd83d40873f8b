"""Plain data to values of an annotated type, without any conversion that could hide a mistake."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from okulo_core.config.faults import INVALID, Faults, join
from okulo_core.config.merging import Edits
from okulo_core.errors import did_you_mean

__all__ = ["ACCEPTED", "Values", "enum_text", "union_choices"]

ACCEPTED: dict[type, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
}


def enum_text(member: Enum) -> str:
    """How files state a member: its value where that is text, else its name."""
    return member.value if isinstance(member.value, str) else member.name


def union_choices(annotation: Any) -> tuple[Any, ...]:
    """The types that ``A | B`` or ``Optional[A]`` allows; nothing for any other annotation."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else ()


class Values:
    """Reads values; each method returns one, or INVALID after noting why.

    Args:
        faults: Where problems are noted.
        config: Reads an attrs class: ``config(data, cls, default, path)``.
    """

    def __init__(self, faults: Faults, config: Callable[[Any, type, Any, str], Any]) -> None:
        self.faults = faults
        self.config = config

    def read(self, data: Any, annotation: Any, default: Any, path: str) -> Any:
        """A value of the type ``annotation``; ``default`` fills what an edit leaves out."""
        args = get_args(annotation)
        base = get_origin(annotation) or annotation
        if annotation is Any or annotation is object:
            return data
        if choices := union_choices(annotation):
            return self._union(data, choices, default, path)
        if annotation in ACCEPTED:
            return self._scalar(data, annotation, path)
        if annotation is None or annotation is type(None):
            return None if data is None else self.faults.wrong(path, "null", data)
        if base is Literal:
            return self._choice(data, {str(arg): arg for arg in args}, args, path)
        if base in (tuple, list):
            return self._sequence(data, base, args, default, path)
        if base in (dict, Mapping):
            return self._mapping(data, args or (Any, Any), default, path)
        if isinstance(annotation, type):
            return self._object(data, annotation, default, path)
        return self._unreadable(annotation, path)

    def edited(
        self, edits: Edits, default: Any, read: Callable[[Any, str, Any, str], Any], path: str
    ) -> Any:
        """A default list with single items changed by ``read(value, index, item, path)``."""
        kept = list(default) if isinstance(default, tuple | list) else []
        for key, value in edits.items():
            here = join(path, key)
            if not key.isdecimal() or int(key) >= len(kept):
                return self.faults.note(here, f"no such index: the list has {len(kept)} items")
            kept[int(key)] = read(value, key, kept[int(key)], here)
        return collected(type(default), kept)

    def _scalar(self, data: Any, cls: type, path: str) -> Any:
        if type(data) not in ACCEPTED[cls]:
            return self.faults.wrong(path, cls.__name__, data)
        return cls(data)

    def _union(self, data: Any, choices: tuple[Any, ...], default: Any, path: str) -> Any:
        if data is None and type(None) in choices:
            return None
        others = [choice for choice in choices if choice is not type(None)]
        if len(others) == 1:
            return self.read(data, others[0], default, path)
        if type(data) in others:  # an int stays an int where a float is allowed too
            return data
        for choice in others:
            result = self.faults.attempt(partial(self.read, data, choice, default, path))
            if result is not INVALID:
                return result
        return self.faults.wrong(path, " or ".join(_name(choice) for choice in choices), data)

    def _choice(self, data: Any, named: dict[str, Any], allowed: Iterable[Any], path: str) -> Any:
        """One of a few values, of the same type as stated."""
        for value in allowed:
            if type(value) is type(data) and value == data:
                return value
        listed = " or ".join(repr(value) for value in allowed)
        near = did_you_mean(data, named) if isinstance(data, str) else ""
        if near.startswith("; there are"):  # they are listed already
            near = ""
        return self.faults.note(path, f"expected {listed}, got {data!r}{near}")

    def _object(self, data: Any, cls: type, default: Any, path: str) -> Any:
        if attrs.has(cls):
            return self.config(data, cls, default if type(default) is cls else None, path)
        if issubclass(cls, Enum):
            members = {enum_text(member): member for member in cls}
            text = self._choice(data, members, members, path)
            return INVALID if text is INVALID else members[text]
        if issubclass(cls, Path):
            return cls(data) if type(data) is str else self.faults.wrong(path, "a path", data)
        return self._unreadable(cls, path)

    def _unreadable(self, annotation: Any, path: str) -> Any:
        return self.faults.note(path, f"a value of type {_name(annotation)} has no form in files")

    def _sequence(
        self, data: Any, cls: type, args: tuple[Any, ...], default: Any, path: str
    ) -> Any:
        fixed = cls is tuple and bool(args) and args[-1] is not Ellipsis

        def item(value: Any, index: Any, current: Any, here: str) -> Any:
            kind = args[int(index) if fixed else 0] if args else Any
            return self.read(value, kind, current, here)

        if isinstance(data, Edits):
            return self.edited(data, default, item, path)
        if not isinstance(data, list | tuple):
            return self.faults.wrong(path, "a list", data)
        if fixed and len(data) != len(args):
            return self.faults.wrong(path, f"a list of {len(args)} items", data)
        return collected(cls, [item(v, i, None, join(path, i)) for i, v in enumerate(data)])

    def _mapping(self, data: Any, args: tuple[Any, ...], default: Any, path: str) -> Any:
        if not isinstance(data, Mapping):
            return self.faults.wrong(path, "a mapping", data)
        kept = dict(default) if isinstance(data, Edits) and isinstance(default, Mapping) else {}
        for key, value in data.items():
            here = join(path, key)
            if args[0] is int and isinstance(key, str) and key.lstrip("-").isdecimal():
                key = int(key)  # JSON, TOML and dotted paths have no other keys than text
            name = self.read(key, args[0], None, here)
            kept[name] = self.read(value, args[1], kept.get(name), here)
        return INVALID if INVALID in kept else collected(dict, kept.items())


def collected(cls: type, items: Iterable[Any]) -> Any:
    """A tuple, list or dictionary of the items, or INVALID if one is."""
    kept = list(items)
    values = [value for _, value in kept] if cls is dict else kept
    return INVALID if any(value is INVALID for value in values) else cls(kept)


def _name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
