"""``okulo train``: run a training to its end, or go on with one."""

import argparse
import os
import shlex
from pathlib import Path

from okulo_engine.cli.runs import add_config, is_first_process, load_run, print_metrics

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the run (default runs/CONFIG)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in the folder"
    )
    parser.add_argument("--json", action="store_true", help="print the last evaluation as JSON")


def run(args: argparse.Namespace) -> int:
    from okulo_core.logging import setup_logging
    from okulo_engine.train import train

    config = load_run(args)
    output = args.output or Path("runs") / Path(args.config).stem
    observers = [
        hook for hooks in args.plugins.hook.okulo_run_hooks(config=config) for hook in hooks
    ]
    setup_logging(rank=int(os.environ.get("RANK", "0")))
    try:
        results = train(
            config,
            output_dir=output,
            catalog=args.plugins.catalog(),
            resume=args.resume,
            hooks=observers,
        )
    except KeyboardInterrupt:
        again = shlex.join([args.config, *args.overrides, "--output", str(output), "--resume"])
        raise KeyboardInterrupt(f"; go on with: okulo train {again}") from None
    if is_first_process():
        print_metrics(results, as_json=args.json)
    return 0
