"""The JSON schema of a configuration's files, for editors and other programs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
from attrs import NOTHING, Attribute

from okulo_core.catalog import Catalog
from okulo_core.config.fields import Part, config_fields, default_of, field_type, kind_of
from okulo_core.config.unstructuring import plain
from okulo_core.config.values import enum_text, union_choices
from okulo_core.config.versions import version_of
from okulo_core.errors import OkuloError

__all__ = ["json_schema"]

_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def json_schema(cls: type, catalog: Catalog) -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) of a file that states a ``cls``, its bases included.

    A field that holds a component allows every component of its kind that can be imported, by
    ``type``; the default's component needs no ``type``. What validators check is not said.

    Args:
        cls: The class of the whole configuration.
        catalog: Its components become ``$defs``, named ``kind.name``.
    """
    schema = _Schema(catalog)
    body = schema.config(cls)
    body["properties"]["base"] = {
        "description": "A file, or several, to inherit from.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    required = _required(cls)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__,
        **body,
        **({"required": required} if required else {}),
        "$defs": dict(sorted(schema.definitions.items())),
    }


class _Schema:
    """Collects the definitions of components while the schema of a class is put together."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.definitions: dict[str, dict[str, Any]] = {}
        self.choices: dict[str, list[tuple[type, str]]] = {}  # by kind: class, key in definitions

    def config(self, cls: type) -> dict[str, Any]:
        """An object with the fields of ``cls``; what is required depends on where it stands."""
        properties = {name: self.field(cls, item) for name, item in config_fields(cls).items()}
        if version_of(cls) > 1:
            properties["version"] = {"type": "integer", "minimum": 1, "maximum": version_of(cls)}
        about = (inspect.getdoc(cls) or "").partition("\n")[0]
        return {
            **({"description": about} if about else {}),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }

    def field(self, cls: type, attribute: Attribute[Any]) -> dict[str, Any]:
        default = default_of(attribute)
        schema = self.value(field_type(cls, attribute), default)
        if default is not NOTHING:
            with suppress(OkuloError):  # a default that files cannot state
                stated = plain(default, kind_of(attribute), self.catalog, attribute.name)
                schema = {**schema, "default": stated}
        return schema

    def part(self, kind: str, default: Any) -> dict[str, Any]:
        """Any component of a kind; that of the default may leave out what it has."""
        alternatives = []
        for cls, key in self.components(kind):
            reference: dict[str, Any] = {"$ref": f"#/$defs/{key}"}
            if cls is not type(default):
                reference["required"] = ["type", *_required(cls)]
            alternatives.append(reference)
        return {"oneOf": alternatives} if alternatives else {"type": "object"}

    def components(self, kind: str) -> list[tuple[type, str]]:
        """The importable components of a kind, defined on first use."""
        if kind not in self.choices:
            found = self.choices[kind] = []
            names = {}
            for distribution, component in self.catalog.components(kind):
                try:
                    cls = self.catalog.config_class(kind, f"{distribution}:{component.name}")
                except OkuloError:
                    continue
                name = self.catalog.name_of(kind, cls)
                found.append((cls, f"{kind}.{name}"))
                names[found[-1]] = {name, f"{distribution}:{component.name}"}
            # Only now, since a definition may refer to any component of its own kind.
            for cls, key in found:
                self.define(cls, key, names[cls, key])
        return self.choices[kind]

    def define(self, cls: type, key: str, names: set[str]) -> None:
        body = self.config(cls)
        body["properties"] = {"type": {"enum": sorted(names)}, **body["properties"]}
        self.definitions[key] = body

    def value(self, annotation: Any, default: Any) -> dict[str, Any]:
        """The schema of an annotated type."""
        base, args = get_origin(annotation) or annotation, get_args(annotation)
        if isinstance(annotation, Part):
            schema = self.part(annotation.kind, default)
            return {"anyOf": [schema, {"type": "null"}]} if annotation.optional else schema
        if choices := union_choices(annotation):
            return {"anyOf": [self.value(choice, default) for choice in choices]}
        if base in _SCALARS:
            return {"type": _SCALARS[base]}
        if base is None or base is type(None):
            return {"type": "null"}
        if base is Literal:
            return {"enum": list(args)}
        if base is tuple and args and args[-1] is not Ellipsis:
            items = [self.value(arg, NOTHING) for arg in args]
            return {"type": "array", "prefixItems": items, "minItems": len(args), "items": False}
        if base in (tuple, list):
            return {"type": "array", "items": self.value(args[0], NOTHING) if args else {}}
        if base in (dict, Mapping):
            value = self.value(args[1], NOTHING) if args else {}
            return {"type": "object", "additionalProperties": value}
        if isinstance(base, type) and issubclass(base, Enum):
            return {"enum": [enum_text(member) for member in base]}
        if isinstance(base, type) and issubclass(base, Path):
            return {"type": "string"}
        if isinstance(base, type) and attrs.has(base):
            required = [] if type(default) is base else _required(base)
            return {**self.config(base), **({"required": required} if required else {})}
        return {}


def _required(cls: type) -> list[str]:
    return [name for name, item in config_fields(cls).items() if item.default is NOTHING]
