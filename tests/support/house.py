"""What the repository's rules are checked against: the distributions and who may import whom."""

import ast
import tomllib
from pathlib import Path

__all__ = ["MAY_IMPORT", "PLUGINS", "ROOT", "declared", "folder_of", "imported", "sources"]

ROOT = Path(__file__).resolve().parents[2]

# Import names without the prefix okulo_. A new edge is a decision, made by editing this table.
MAY_IMPORT: dict[str, set[str]] = {
    "ops": set(),
    "core": {"ops"},
    "transforms": {"core", "ops"},
    "modeling": {"core", "ops"},
    "evaluation": {"core", "ops"},
    "engine": {"core"},
    "reid": {"core", "ops", "modeling"},
}
PACKAGE_FOLDERS = {"ops": "ops-cuda", "core": "core-structures"}
# A plugin may import the public names of any package, but of no other plugin; recipes are complete
# runs and the demo, so they name the plugins whose parts they put together.
PLUGINS = ("coco", "recipes", "shapes", "template")


def folder_of(name: str) -> Path:
    """The folder of the distribution ``okulo-<name>``."""
    if name in PLUGINS:
        return ROOT / "plugins" / name
    return ROOT / "packages" / PACKAGE_FOLDERS.get(name, name)


def sources(name: str, part: str = "src") -> list[Path]:
    """Every Python file of a distribution below ``src`` or ``tests``."""
    return sorted((folder_of(name) / part).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports, wherever in the file it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def declared(name: str, *, extras: bool = True) -> set[str]:
    """Distribution names in a ``pyproject.toml``, lower case, without versions."""
    project = tomllib.loads((folder_of(name) / "pyproject.toml").read_text())["project"]
    lines = list(project.get("dependencies", ()))
    if extras:
        lines += [
            line for group in project.get("optional-dependencies", {}).values() for line in group
        ]
    cut = str.maketrans(dict.fromkeys("[<>=!~;", " "))
    return {line.translate(cut).split()[0].lower() for line in lines}
