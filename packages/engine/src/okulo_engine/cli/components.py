"""``okulo components``: everything that a configuration can name."""

import argparse

import attrs

from okulo_core.errors import UnknownComponentError, did_you_mean
from okulo_engine.cli.output import print_json, print_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", help="only this kind, such as backbone")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    catalog = args.plugins.catalog()
    kinds = catalog.kinds()
    if args.kind is not None and args.kind not in kinds:
        raise UnknownComponentError(
            f"no component of kind '{args.kind}'{did_you_mean(args.kind, kinds)}"
        )
    entries = catalog.components(args.kind)
    if args.json:
        print_json([{"distribution": owner, **attrs.asdict(item)} for owner, item in entries])
    else:
        rows = [(item.kind, item.name, owner, item.summary) for owner, item in entries]
        print_table(("kind", "name", "distribution", "summary"), rows)
    return 0
