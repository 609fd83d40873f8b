"""Laying plain data over plain data, base files and dotted overrides, and over default values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import attrs

from okulo_core.config.faults import Fault
from okulo_core.config.text import parse_yaml
from okulo_core.errors import ConfigError

__all__ = ["Edits", "Over", "laid", "merge", "override"]


class Edits(dict[str, Any]):
    """Changes to single items of a default list or dictionary; only overrides make one."""


class Over(dict[str, Any]):
    """A mapping that states what differs from a default configuration."""

    def __init__(self, data: Mapping[str, Any], default: Any) -> None:
        super().__init__(data)
        self.default = default


def laid(data: Any, default: Any) -> Any:
    """``data`` together with what it leaves to the default value that it changes.

    Raises:
        Fault: It changes an item that the default does not have.
    """
    if isinstance(data, Edits) and isinstance(default, tuple | list):
        items = list(default)
        for key, value in data.items():
            if not key.isdecimal() or int(key) >= len(items):
                raise Fault(f"no such index: the list has {len(items)} items", key)
            items[int(key)] = laid(value, items[int(key)])
        return items
    if isinstance(data, Edits) and isinstance(default, Mapping):
        return {**default, **{k: laid(value, default.get(k)) for k, value in data.items()}}
    if isinstance(data, Mapping) and attrs.has(type(default)):
        return Over(data, default)
    return data


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``over`` on ``base``: mappings merge, anything else replaces.

    A mapping whose ``type`` differs describes another component, and so replaces too.
    """
    if "type" in base and "type" in over and base["type"] != over["type"]:
        return deepcopy(dict(over))
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = type(below)(merge(below, value))  # type: ignore[call-arg]
        else:
            merged[key] = deepcopy(value)
    return merged


def override(data: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply ``a.b.0.c=value`` in order; a value is read as YAML, and no value is null.

    Raises:
        ConfigError: An assignment has no ``=``, a value is no YAML, or a path leads through a
            value that is no mapping or list, or past the end of a list.
    """
    changed = deepcopy(dict(data))
    problems = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        try:
            if not equals or not all(keys):
                raise ValueError("expected PATH=VALUE, such as model.backbone.depth=101")
            changed = _assigned(changed, keys, parse_yaml(text), ())
        except ValueError as error:
            problems.append(f"{assignment}: {error}")
    if problems:
        raise ConfigError(problems, "override")
    return changed


def _assigned(node: Any, keys: Sequence[str], value: Any, path: tuple[str, ...]) -> Any:
    """``node`` with the place that ``keys`` lead to replaced by ``value``."""
    if not keys:
        if isinstance(node, Mapping) and isinstance(value, Mapping):
            return merge(node, value)
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        index = _index(key, len(node), ".".join(path))
        item = _assigned(node[index], rest, value, (*path, key))
        return [*node[:index], item, *node[index + 1 :]]
    if node is None:
        node = Edits()
    if not isinstance(node, Mapping):
        raise ValueError(f"{'.'.join(path)} is {node!r}, neither a mapping nor a list")
    if key == "type" and not rest and node.get("type", value) != value:
        return {"type": value}  # another component starts from its own defaults
    return type(node)({**node, key: _assigned(node.get(key), rest, value, (*path, key))})  # type: ignore[call-arg]


def _index(key: str, length: int, path: str) -> int:
    if not key.isdecimal():
        raise ValueError(f"{path} is a list of {length} items; expected an index, got {key!r}")
    if int(key) >= length:
        raise ValueError(f"{path} has {length} items, so there is no index {key}; the first is 0")
    return int(key)
