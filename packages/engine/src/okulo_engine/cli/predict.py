"""``okulo predict``: detect in images, draw what was found, write it as COCO results."""

import argparse
import sys
from pathlib import Path

from okulo_engine.cli.runs import load_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="file of a run, or a plugin's path such as recipe://shapes")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image file or URL")
    parser.add_argument(
        "--weights", required=True, metavar="F", help="weights file, checkpoint, or a run's output"
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for the pictures and results.json",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="S",
        help="draw what scores at least S (default 0.5); results.json has everything",
    )


def run(args: argparse.Namespace) -> int:
    """Predict for every image that can be read; 1 if there is one that cannot."""
    from okulo_core.errors import DataError
    from okulo_core.io import dump
    from okulo_engine.cli.predicting import Predictor, unique_names

    predictor = Predictor(load_run(args), args.weights, args.plugins.catalog())
    results = []
    problems = []
    for path, name in zip(args.images, unique_names(args.images), strict=True):
        picture = args.output / f"{name}.png"
        try:
            results += predictor.predict(path, name, picture=picture, threshold=args.threshold)
        except (DataError, FileNotFoundError) as error:
            problems.append(str(error))
    dump(results, args.output / "results.json")
    done = len(args.images) - len(problems)
    print(f"{len(results)} detections in {done} of {len(args.images)} images: {args.output}")
    for problem in problems:
        print(f"okulo: error: {problem}", file=sys.stderr)
    return int(bool(problems))
