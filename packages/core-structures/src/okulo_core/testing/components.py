"""The contract that every component keeps."""

from typing import Any

__all__ = ["check_component"]


def check_component(
    config: Any, *, kind: str, catalog: Any, inputs: Any = None, build_args: Any = ()
) -> Any:
    raise NotImplementedError
