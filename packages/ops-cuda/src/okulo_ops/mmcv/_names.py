"""Arguments that mmcv renamed: both names work."""

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["also_called"]


def also_called(**names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let keywords be given by another name: ``also_called(out_size="output_size")``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            for other, name in names.items():
                if other in kwargs and name in kwargs:
                    raise TypeError(f"{name} and {other} are one argument, got both; leave one out")
                if other in kwargs:
                    kwargs[name] = kwargs.pop(other)
            return function(*args, **kwargs)

        return renamed

    return decorate
