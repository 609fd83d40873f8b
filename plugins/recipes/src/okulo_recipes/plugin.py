"""What okulo-recipes offers: the scheme ``recipe://`` and the command ``demo``; no torch here."""

from pathlib import Path

from okulo_core.errors import MissingFileError
from okulo_core.hookspecs import Command, hookimpl

__all__ = ["okulo_commands", "okulo_resolve_path"]

RUNS = Path(__file__).parent / "runs"
SCHEME = "recipe://"


@hookimpl
def okulo_commands() -> list[Command]:
    return [
        Command(
            name="demo",
            module="okulo_recipes.demo",
            summary="draw a data set, train a small detector on it, evaluate, write a report",
        )
    ]


@hookimpl
def okulo_resolve_path(path: str) -> str | None:
    if not path.startswith(SCHEME):
        return None
    name = path.removeprefix(SCHEME).removesuffix(".yaml")
    file = RUNS / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(run.stem for run in RUNS.glob("*.yaml")))
        raise MissingFileError(f"no recipe named {name!r}; there are: {known}")
    return str(file)
