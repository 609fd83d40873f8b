"""What a logger is."""

from collections.abc import Mapping

from okulo_engine.hooks.base import HookBase

__all__ = ["LoggerBase"]


class LoggerBase(HookBase):
    """A hook that is handed numbers to write down.

    It opens what it writes to in ``before_train`` and closes it in ``after_train``. A component of
    the kind ``logger`` is a config whose ``build(output_dir)`` returns one; it runs on the main
    process alone.
    """

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write numbers measured up to ``step``: losses and times, or results of an evaluation."""
        raise NotImplementedError
