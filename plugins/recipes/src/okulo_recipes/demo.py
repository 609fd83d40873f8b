"""``okulo demo``: from nothing to a trained detector and a report, without any download."""

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", metavar="a.b=c", help="settings that replace those of the recipe"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/demo"),
        metavar="DIR",
        help="folder for data, checkpoints, pictures and report (default runs/demo)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted demo")


def run(args: argparse.Namespace) -> int:
    from okulo_core.logging import setup_logging
    from okulo_recipes.showcase import showcase

    setup_logging()
    report = showcase(args.plugins, args.output, overrides=args.overrides, resume=args.resume)
    print(f"report: {report}")
    return 0
