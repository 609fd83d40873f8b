"""What differs between two configurations, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from attrs import frozen

__all__ = ["ABSENT", "Change", "diff"]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


@frozen
class Change:
    """One place that differs; ``old`` or ``new`` is :data:`ABSENT` where it was not there."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.old!r} -> {self.new!r}"


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """List the leaves that differ, in the order of ``old``, then what ``new`` adds."""
    return _changes(old, new, "")


def _changes(old: Any, new: Any, path: str) -> list[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        pairs = [(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list):
        both = zip_longest(old, new, fillvalue=ABSENT)
        pairs = [(str(index), *pair) for index, pair in enumerate(both)]
    else:
        same = type(old) is type(new) and (old == new or (old != old and new != new))
        return [] if same else [Change(path, old, new)]
    return [
        change
        for key, before, after in pairs
        for change in _changes(before, after, f"{path}.{key}".lstrip("."))
    ]
