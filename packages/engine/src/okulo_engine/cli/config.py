"""``okulo config``: show, describe, compare and check configurations of runs."""

import argparse
from collections.abc import Iterator
from typing import Any

from okulo_engine.cli.output import print_json, print_table
from okulo_engine.cli.runs import add_config, load_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print a run with every default filled in")
    check = actions.add_parser("check", help="read a run and build its model")
    schema = actions.add_parser("schema", help="print the JSON schema of a run")
    diff = actions.add_parser("diff", help="print in what settings two runs differ")
    for action, function in ((show, _show), (check, _check), (schema, _schema), (diff, _diff)):
        action.set_defaults(action=function)
    for action in (show, check, diff):
        action.add_argument("--json", action="store_true", help="print JSON")
    add_config(show)
    add_config(check)
    diff.add_argument("old", help="file of a run, or a plugin's path")
    diff.add_argument("new", help="file of a run, or a plugin's path")


def run(args: argparse.Namespace) -> int:
    args.action(args)
    return 0


def _show(args: argparse.Namespace) -> None:
    from okulo_core.config import unstructure
    from okulo_core.config.text import dump_yaml

    data = unstructure(load_run(args), args.plugins.catalog())
    if args.json:
        print_json(data)
    else:
        print(dump_yaml(data), end="")


def _schema(args: argparse.Namespace) -> None:
    from okulo_core.config import json_schema
    from okulo_engine.run_config import RunConfig

    print_json(json_schema(RunConfig, args.plugins.catalog()))


def _diff(args: argparse.Namespace) -> None:
    from okulo_core.config import ABSENT, diff, unstructure

    catalog = args.plugins.catalog()
    old, new = (
        unstructure(load_run(argparse.Namespace(config=path, plugins=args.plugins)), catalog)
        for path in (args.old, args.new)
    )
    changes = diff(old, new)
    if args.json:
        sides = [{"path": c.path, "old": c.old, "new": c.new} for c in changes]
        print_json([{k: v for k, v in side.items() if v is not ABSENT} for side in sides])
    else:
        shown = [[("-" if v is ABSENT else str(v)) for v in (c.old, c.new)] for c in changes]
        print_table(
            ("setting", args.old, args.new),
            [(change.path, *sides) for change, sides in zip(changes, shown, strict=True)],
        )


def _check(args: argparse.Namespace) -> None:
    from okulo_core.config import unstructure
    from okulo_engine.train import build_model

    config = load_run(args)
    found = list(_components(unstructure(config, args.plugins.catalog())))
    model = build_model(config)
    config.optimizer.build(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if args.json:
        print_json({"components": dict(found), "parameters": parameters})
        return
    print_table(("setting", "component"), found)
    print(
        f"\nEvery setting is valid, {len(found)} components were imported, the model "
        f"({parameters:,} parameters) and its optimizer were built.\n"
        f"Not looked at: data sets and stored weights."
    )


def _components(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and name of every component in plain data."""
    if isinstance(data, dict):
        if path and isinstance(data.get("type"), str):
            yield path, data["type"]
        items = data.items()
    elif isinstance(data, list):
        items = {str(index): item for index, item in enumerate(data)}.items()
    else:
        return
    for key, value in items:
        yield from _components(value, f"{path}.{key}" if path else key)
