"""What is wrong with the data of a configuration, raised while reading, told with its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cattrs import BaseValidationError, ForbiddenExtraKeysError
from cattrs.errors import AttributeValidationNote, IterableValidationNote

from okulo_core.config.fields import config_fields
from okulo_core.errors import did_you_mean, words_of

__all__ = ["Fault", "problems", "wrong"]


class Fault(Exception):
    """A value is wrong, or what it holds under ``key``."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        if key:
            self.add_note(IterableValidationNote("", key, None))


def wrong(expected: str, received: Any, key: str = "") -> Fault:
    """The fault of a value that is not of the expected kind."""
    text = repr(dict(received) if isinstance(received, Mapping) else received)
    shown = text if len(text) <= 120 else f"{text[:117]}..."
    return Fault(f"expected {expected}, got {shown}", key)


def problems(error: BaseException, path: str = "") -> list[str]:
    """One line ``path: what is wrong`` for each fault that cattrs has gathered in ``error``."""
    for note in reversed(getattr(error, "__notes__", ())):  # the outermost comes last
        if isinstance(note, AttributeValidationNote):
            path = f"{path}.{note.name}"
        elif isinstance(note, IterableValidationNote):
            path = f"{path}.{note.index}"
    if isinstance(error, BaseValidationError):
        return [line for inner in error.exceptions for line in problems(inner, path)]
    if isinstance(error, ForbiddenExtraKeysError):
        known = config_fields(error.cl)
        keys = sorted(map(str, error.extra_fields))
        return [f"{path}.{key}: unknown key{did_you_mean(key, known)}".lstrip(".") for key in keys]
    missing = isinstance(error, KeyError) and path.rpartition(".")[2] in error.args
    text = "is required and has no default" if missing else words_of(error)
    return [f"{path}: {text}".lstrip(".: ")]
