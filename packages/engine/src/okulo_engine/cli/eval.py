"""``okulo eval``: score stored weights on the test data of a run."""

import argparse
from pathlib import Path

from okulo_engine.cli.runs import add_config, is_first_process, load_run, print_metrics

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--weights", required=True, metavar="F", help="weights file, checkpoint, or a run's output"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for metrics.json and predictions"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from okulo_core.io import dump
    from okulo_engine.checkpoint import load_model_weights
    from okulo_engine.launch import process_group
    from okulo_engine.train import evaluate

    config = load_run(args)
    with process_group(config.device) as device:
        model = config.model.build()
        load_model_weights(model, args.weights)
        results = evaluate(config, model.to(device), output_dir=args.output)
    if is_first_process():
        if args.output:
            dump(results, args.output / "metrics.json")
        print_metrics(results, as_json=args.json)
    return 0
