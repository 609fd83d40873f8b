"""``okulo plugins``: every distribution that offers something, and whether it could be loaded."""

import argparse

import attrs

from okulo_engine.cli.output import print_json, print_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    states = args.plugins.states
    if args.json:
        print_json([attrs.asdict(state) for state in states])
    else:
        rows = [(s.distribution, s.version, s.status, s.error or s.module) for s in states]
        print_table(("distribution", "version", "status", "module or cause"), rows)
    return 0
