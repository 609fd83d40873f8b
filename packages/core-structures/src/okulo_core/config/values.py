"""Plain data to values of an annotated type, without any conversion that could hide a mistake.

cattrs finds the hook of a type; its own hooks for these types would turn ``"false"`` into True.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from cattrs import BaseValidationError, Converter
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    is_any_set,
    list_structure_factory,
)
from cattrs.gen import make_hetero_tuple_structure_fn, make_mapping_structure_fn

from okulo_core.config.faults import Fault, wrong
from okulo_core.errors import did_you_mean

__all__ = ["enum_text", "register_values", "union_choices", "unreadable"]

_Hook = Callable[[Any, Any], Any]
_ACCEPTED: dict[type, tuple[type, ...]] = {
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


def register_values(converter: Converter) -> None:
    """Make a converter read the types that files can state strictly."""
    for scalar in _ACCEPTED:
        converter.register_structure_hook(scalar, _scalar)
    converter.register_structure_hook(Enum, _member)
    converter.register_structure_hook(Path, _path)
    converter.register_structure_hook(bytes, unreadable)
    converter.register_structure_hook_func(is_any_set, unreadable)
    converter.register_structure_hook_func(
        lambda t: get_origin(t) is Literal, lambda data, t: _choice(data, get_args(t))
    )
    for predicate, factory in (
        (_is(list), _only("a list", list | tuple, list_structure_factory)),
        (_is(tuple, Sequence), _only("a list", list | tuple, homogenous_tuple_structure_factory)),
        (_is_fixed, _only("a list", list | tuple, make_hetero_tuple_structure_fn)),
        (_is(dict, Mapping), _only("a mapping", Mapping, _mapping)),
        # Of two types, one of them None, cattrs reads the other.
        (lambda t: len({*union_choices(t)} - {type(None)}) > 1, _union),
    ):
        converter.register_structure_hook_factory(predicate, factory)


def unreadable(data: Any, annotation: Any) -> Any:
    """The hook of the types that files cannot state."""
    name = getattr(annotation, "__name__", annotation)
    raise Fault(f"a value of type {name} has no form in files")


def _scalar(data: Any, cls: Any) -> Any:
    if issubclass(cls, Enum):  # such as class Level(int, Enum)
        return _member(data, cls)
    if type(data) not in _ACCEPTED.get(cls, ()):
        raise wrong(cls.__name__, data)
    return cls(data)


def _path(data: Any, cls: type[Path]) -> Path:
    if type(data) is not str and not isinstance(data, cls):
        raise wrong("a path", data)
    return cls(data)


def _member(data: Any, cls: type[Enum]) -> Enum:
    members = {enum_text(member): member for member in cls}
    return data if isinstance(data, cls) else members[_choice(data, members)]


def _choice(data: Any, allowed: Collection[Any]) -> Any:
    """One of a few values, of the same type as stated."""
    for value in allowed:
        if type(value) is type(data) and value == data:
            return value
    near = did_you_mean(data, map(str, allowed)) if isinstance(data, str) else ""
    listed = " or ".join(repr(value) for value in allowed)
    raise Fault(f"expected {listed}, got {data!r}{near if near.endswith('?') else ''}")


def _union(annotation: Any, converter: Converter) -> _Hook:
    choices = union_choices(annotation)

    def structure(data: Any, _: Any) -> Any:
        if type(data) in choices:  # an int stays an int where a float is allowed too
            return data
        for choice in choices:
            with suppress(BaseValidationError, Fault):
                return converter.structure(data, choice)
        raise wrong(str(annotation), data)

    return structure


def _only(expected: str, classes: Any, factory: Callable[[Any, Converter], _Hook]) -> Any:
    """The factory of cattrs' hooks, which take apart whatever can be iterated over, even text."""

    def guarded(annotation: Any, converter: Converter) -> _Hook:
        read = factory(annotation, converter)

        def structure(data: Any, _: Any) -> Any:
            if not isinstance(data, classes):
                raise wrong(expected, data)
            return read(data, annotation)

        return structure

    return guarded


def _mapping(annotation: Any, converter: Converter) -> _Hook:
    read = make_mapping_structure_fn(annotation, converter, dict)
    if get_args(annotation)[:1] != (int,):
        return read
    # JSON, TOML and dotted paths have no other keys than text.
    return lambda data, _: read({_number(key): value for key, value in data.items()}, annotation)


def _number(key: Any) -> Any:
    is_number = isinstance(key, str) and key.removeprefix("-").isdecimal()
    return int(key) if is_number else key


def _is(*classes: Any) -> Callable[[Any], bool]:
    return lambda annotation: (get_origin(annotation) or annotation) in classes


def _is_fixed(annotation: Any) -> bool:
    return get_origin(annotation) is tuple and Ellipsis not in get_args(annotation)
