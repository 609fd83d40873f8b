"""Old shapes of a configuration's data, brought up to date while reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from okulo_core.config.faults import Fault, wrong
from okulo_core.config.fields import config_fields

__all__ = ["upgraded", "version_of"]


def version_of(cls: type) -> int:
    """The version of the shape of ``cls``: its class variable ``VERSION``, or 1."""
    return getattr(cls, "VERSION", 1)


def upgraded(data: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """``data`` without the key ``version``, in today's shape of ``cls``.

    A mapping without ``version`` has version 1. The class's static method
    ``upgrade(data, version)`` gets what the file states, which may be a part of all keys, and
    returns it in today's shape; it leaves alone what it does not know.

    Raises:
        Fault: The version is none that can be read, or the upgrade fails.
    """
    if "version" in config_fields(cls):  # a setting of its own
        return dict(data)
    rest = {key: value for key, value in data.items() if key != "version"}
    version, current = data.get("version", 1), version_of(cls)
    if type(version) is not int or version < 1:
        raise wrong("a positive int", version, "version")
    if version > current:
        package = cls.__module__.partition(".")[0]
        raise Fault(
            f"{version} is newer than {current}, the newest that this {package} reads", "version"
        )
    upgrade = getattr(cls, "upgrade", None)
    if version == current or upgrade is None:
        return rest
    try:
        return dict(upgrade(rest, version))
    except Exception as error:  # whatever a hook does with data it did not expect
        raise Fault(f"cannot be upgraded from version {version}: {error!r}") from None
