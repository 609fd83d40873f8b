"""Scalars that a model reports while it trains, without knowing who listens."""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any

__all__ = ["EventStorage", "get_event_storage", "log_scalar", "log_scalars"]

_active: ContextVar["EventStorage | None"] = ContextVar("okulo_event_storage", default=None)


class EventStorage:
    """Keeps the latest value of each scalar and the step at which it was put.

    Inside ``with EventStorage() as storage:`` it is the one that :func:`log_scalar` reaches;
    storages may be nested, the innermost is active. A tensor is kept as it is, detached, and only
    :meth:`latest` waits for its value, so that reporting does not stop a GPU at every step.
    """

    def __init__(self, start_step: int = 0) -> None:
        self.step = start_step
        self._latest: dict[str, tuple[Any, int]] = {}
        self._tokens: list[Token[EventStorage | None]] = []

    def put_scalar(self, name: str, value: Any) -> None:
        """Keep a number or a tensor of one element under ``name``, for the current step."""
        self._latest[name] = (value.detach() if hasattr(value, "detach") else value, self.step)

    def put_scalars(self, **values: Any) -> None:
        """:meth:`put_scalar` for each keyword."""
        for name, value in values.items():
            self.put_scalar(name, value)

    def latest(self) -> dict[str, tuple[float, int]]:
        """Each scalar's last value and its step."""
        return {name: (float(value), step) for name, (value, step) in self._latest.items()}

    def __enter__(self) -> "EventStorage":
        self._tokens.append(_active.set(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _active.reset(self._tokens.pop())


def get_event_storage() -> EventStorage:
    """The innermost active storage; ``RuntimeError`` if there is none."""
    storage = _active.get()
    if storage is None:
        raise RuntimeError("no EventStorage is active; call this inside 'with EventStorage():'")
    return storage


def log_scalar(name: str, value: Any) -> None:
    """Report one scalar to the active storage; without one this does nothing."""
    storage = _active.get()
    if storage is not None:
        storage.put_scalar(name, value)


def log_scalars(values: Mapping[str, Any]) -> None:
    """Report several scalars to the active storage; without one this does nothing."""
    for name, value in values.items():
        log_scalar(name, value)
