"""The stored lists of public names and command-line flags; run this file to write them again."""

import argparse
import ast
import importlib
from pathlib import Path

from house import MAY_IMPORT, PLUGINS, ROOT, sources

__all__ = ["FLAGS", "NAMES", "command_line_flags", "public_names"]

NAMES = ROOT / "tests" / "architecture" / "public_names.txt"
FLAGS = ROOT / "tests" / "architecture" / "command_line.txt"


def public_names() -> list[str]:
    """``module:name`` for every name in an ``__all__``, sorted."""
    found = []
    for name in [*MAY_IMPORT, *PLUGINS]:
        for path in sources(name):
            module = ".".join(path.with_suffix("").parts[path.parts.index("src") + 1 :])
            if "._" in module.removesuffix(".__init__"):  # its names are public elsewhere
                continue
            found += [f"{module.removesuffix('.__init__')}:{item}" for item in listed(path)]
    return sorted(found)


def listed(path: Path) -> list[str]:
    """The string items of ``__all__`` in a file, or what its stub imports; none without either."""
    stub = path.with_suffix(".pyi")
    if stub.exists():
        body = ast.parse(stub.read_text(encoding="utf-8")).body
        imports = [node for node in body if isinstance(node, ast.ImportFrom)]
        return [name.asname or name.name for node in imports for name in node.names]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def command_line_flags() -> list[str]:
    """``command: argument`` for each argument of each command, sorted."""
    from okulo_core.plugins import Plugins

    found = []
    for _, command in Plugins.installed(strict=True).commands():
        parser = argparse.ArgumentParser(prog=command.name)
        importlib.import_module(command.module).add_arguments(parser)
        found += describe(parser, command.name)
    return sorted(found)


def describe(parser: argparse.ArgumentParser, name: str) -> list[str]:
    """The arguments of a parser and of its sub-commands."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub, child in action.choices.items():
                found += describe(child, f"{name} {sub}")
        else:
            found.append(f"{name}: {' '.join(action.option_strings) or action.dest}")
    return found


if __name__ == "__main__":
    NAMES.write_text("\n".join(public_names()) + "\n")
    FLAGS.write_text("\n".join(command_line_flags()) + "\n")
