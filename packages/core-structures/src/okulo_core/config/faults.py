"""What is wrong with the data of a configuration, noted with its path while reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["INVALID", "Faults", "join"]

INVALID: Any = object()  # stands for a value whose fault has been noted


class Faults:
    """The problems found so far."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def note(self, path: str, message: str) -> Any:
        """Keep a problem and return INVALID, for ``return faults.note(...)``."""
        self.problems.append(f"{path}: {message}" if path else message)
        return INVALID

    def wrong(self, path: str, expected: str, received: Any) -> Any:
        """Note that a value is not of the expected kind."""
        return self.note(path, f"expected {expected}, got {_shown(received)}")

    def attempt(self, read: Callable[[], Any]) -> Any:
        """What ``read`` returns, or INVALID without a note if it found a fault."""
        before = len(self.problems)
        result = read()
        if len(self.problems) == before:
            return result
        del self.problems[before:]
        return INVALID


def join(path: str, key: Any) -> str:
    """The path of what is under ``key``."""
    return f"{path}.{key}" if path else str(key)


def _shown(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 120 else f"{text[:117]}..."
