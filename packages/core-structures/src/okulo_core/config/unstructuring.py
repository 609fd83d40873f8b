"""Configurations to plain data, which structures back to an equal configuration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs

from okulo_core.catalog import Catalog
from okulo_core.config.fields import config_fields, kind_of
from okulo_core.config.values import enum_text
from okulo_core.config.versions import version_of
from okulo_core.errors import ConfigError

__all__ = ["plain", "unstructure", "unstructure_part"]


def unstructure(config: Any, catalog: Catalog) -> dict[str, Any]:
    """State a configuration in full as dictionaries, lists and scalars.

    Each component carries its ``type``, and what has changed its shape since the first version
    carries ``version``.

    Raises:
        ConfigError: A value is of a type that files cannot state.
        ComponentError: A component is not in the catalogue.
    """
    return unstructure_part(config, "", catalog)


def unstructure_part(config: Any, kind: str, catalog: Catalog) -> dict[str, Any]:
    """State the configuration of one component, with its ``type``.

    Raises:
        ConfigError, ComponentError: As :func:`unstructure`.
    """
    data: dict[str, Any] = plain(config, kind, catalog, "")
    return data


def plain(value: Any, kind: str, catalog: Catalog, path: str) -> Any:
    """A value as files state it; what is a configuration is one of ``kind``, or of no kind."""
    if isinstance(value, Mapping):
        return {k: plain(v, kind, catalog, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, kind, catalog, f"{path}.{i}") for i, v in enumerate(value)]
    if attrs.has(type(value)):
        data: dict[str, Any] = {"type": catalog.name_of(kind, value)} if kind else {}
        if version_of(type(value)) > 1:
            data["version"] = version_of(type(value))
        for name, item in config_fields(type(value)).items():
            held = getattr(value, item.name)
            data[name] = plain(held, kind_of(item), catalog, f"{path}.{name}".lstrip("."))
        return data
    if isinstance(value, Enum):
        return enum_text(value)
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    for scalar in (int, float, str):  # a subclass, such as a NumPy float, becomes the plain type
        if isinstance(value, scalar):
            return scalar(value)
    raise ConfigError(f"{path}: a value of type {type(value).__name__} cannot be stated in a file")
