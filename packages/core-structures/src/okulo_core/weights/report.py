"""How the weights of a file fit a model."""

from collections.abc import Sequence
from typing import NamedTuple

from attrs import frozen

__all__ = ["LoadReport", "Misfit"]

SHOWN = 60  # lines of a table; more would hide its point


class Misfit(NamedTuple):
    """A tensor that is not the same in file and model; None where one has no such tensor."""

    name: str
    in_file: tuple[int, ...] | None
    in_model: tuple[int, ...] | None

    @property
    def problem(self) -> str:
        if self.in_file is None:
            return "missing"
        return "unexpected" if self.in_model is None else "mismatched shape"


@frozen
class LoadReport:
    """What was loaded, and what was not because it did not fit."""

    source: str
    loaded: int
    misfits: Sequence[Misfit]

    @property
    def missing(self) -> list[str]:
        """Tensors of the model that the file has not."""
        return [item.name for item in self.misfits if item.problem == "missing"]

    @property
    def unexpected(self) -> list[str]:
        """Tensors of the file that the model has not."""
        return [item.name for item in self.misfits if item.problem == "unexpected"]

    @property
    def mismatched(self) -> list[str]:
        """Tensors that both have, in different shapes."""
        return [item.name for item in self.misfits if item.problem == "mismatched shape"]

    def table(self) -> str:
        """The misfits as text, one per line, with both shapes."""
        rows = [("tensor", "file", "model", "")]
        for item in self.misfits[:SHOWN]:
            rows.append((item.name, _shape(item.in_file), _shape(item.in_model), item.problem))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[3]])
            for row in rows
        ]
        if len(self.misfits) > SHOWN:
            lines.append(f"... and {len(self.misfits) - SHOWN} more")
        return "\n".join(f"  {line}".rstrip() for line in lines)

    def __str__(self) -> str:
        return (
            f"{self.source}: {self.loaded} tensors fit the model, {len(self.missing)} are missing, "
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape"
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else str(tuple(shape))
