"""The JSON schema of a configuration's files."""

from typing import Any

__all__ = ["json_schema"]


def json_schema(cls: type, catalog: Any) -> dict[str, Any]:
    raise NotImplementedError
