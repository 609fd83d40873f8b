"""From the files of a run (metrics.jsonl, config.yaml) to its report."""

import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from okulo_core.errors import MissingFileError
from okulo_evaluation.report.chart import Chart, Series
from okulo_evaluation.report.page import Picture, Table, write_report

__all__ = [
    "charts_from_metrics",
    "describe_environment",
    "read_metrics",
    "report_from_run",
    "tables_from_metrics",
]

Metrics = dict[str, dict[int, float]]
# A prefix "task/" that has one of these is an evaluation; other prefixes are training diagnostics.
MAIN_SCORES = ("AP", "mIoU", "PQ")


def report_from_run(
    run_folder: str | os.PathLike[str],
    *,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    summary: Mapping[str, Any] | None = None,
    tables: Sequence[Table] = (),
    gallery: Sequence[Picture] = (),
    environment: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of a run folder and return where it lies.

    The curves and the result tables come from ``metrics.jsonl``, the configuration from
    ``config.yaml``; what is given here comes in addition.

    Args:
        run_folder: Output folder of a training run.
        path: The HTML file; ``report.html`` in the run folder when None.
        title: Name of the run folder when None.
        summary: Replaces the headline figures, which are the last evaluation's when None.
        tables: Further tables, after those of the last evaluation.
        gallery: Pictures to show.
        environment: :func:`describe_environment` when None.

    Raises:
        MissingFileError: The folder has no ``metrics.jsonl``.
    """
    folder = Path(run_folder)
    target = Path(path) if path is not None else folder / "report.html"
    metrics = read_metrics(folder / "metrics.jsonl")
    config = folder / "config.yaml"
    write_report(
        target,
        title=folder.resolve().name if title is None else title,
        summary=_headline(metrics) if summary is None else summary,
        curves=charts_from_metrics(metrics),
        tables=[*tables_from_metrics(metrics), *tables],
        gallery=gallery,
        config_text=config.read_text(encoding="utf-8") if config.exists() else "",
        environment=describe_environment() if environment is None else environment,
    )
    return target


def read_metrics(path: str | os.PathLike[str]) -> Metrics:
    """Name -> step -> value, steps ascending.

    A run that was interrupted and resumed wrote some steps twice (the later line counts) and may
    have left half a line behind (it is skipped).
    """
    if not os.path.exists(path):
        raise MissingFileError(f"{path} does not exist; expected the metrics of a training run")
    values: Metrics = defaultdict(dict)
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for name, value in row.items():
            if isinstance(value, (int, float)):
                values[name][step] = float(value)
    return {name: dict(sorted(points.items())) for name, points in values.items()}


def charts_from_metrics(metrics: Metrics) -> list[Chart]:
    """Losses, scores per task and per class, training diagnostics, learning rate, time per step."""
    losses = sorted(
        (n for n in metrics if "loss" in n and "/" not in n), key=lambda n: (n != "total_loss", n)
    )
    charts = [_chart("Training losses", metrics, losses, y_label="loss")]
    for task in _tasks(metrics):
        names = [n for n in metrics if n.startswith(f"{task}/")]
        overall = [n for n in names if "-" not in n]
        classes = [n for n in names if "/AP-" in n]
        charts.append(_chart(f"{task}: held-out scores", metrics, overall, y_label="%"))
        if 1 < len(classes) <= 8:  # more lines than colours help nobody; the table has them all
            charts.append(_chart(f"{task}: AP per class", metrics, classes, y_label="%"))
    for group in _groups(metrics):
        if group not in _tasks(metrics):
            charts.append(_chart(group, metrics, [n for n in metrics if n.startswith(f"{group}/")]))
    charts.append(_chart("Learning rate", metrics, [n for n in metrics if n == "lr"]))
    times = [n for n in ("time", "data_time") if n in metrics]
    charts.append(_chart("Time per step", metrics, times, y_label="seconds"))
    return [chart for chart in charts if chart.series]


def tables_from_metrics(metrics: Metrics) -> list[Table]:
    """The last evaluation: overall scores with one row per task, then AP with one row per class."""
    tasks = _tasks(metrics)
    last = {name: points[max(points)] for name, points in metrics.items() if points}
    scores = {
        t: {n.split("/", 1)[1]: v for n, v in last.items() if n.startswith(f"{t}/")} for t in tasks
    }
    overall = _ordered(key for task in tasks for key in scores[task] if "-" not in key)
    classes = _ordered(key for task in tasks for key in scores[task] if key.startswith("AP-"))
    missing = float("nan")
    tables = []
    if overall:
        rows = [[task, *(scores[task].get(key, missing) for key in overall)] for task in tasks]
        tables.append(Table("Scores in percent", ("task", *overall), rows))
    if classes:
        rows = [
            [key.removeprefix("AP-"), *(scores[task].get(key, missing) for task in tasks)]
            for key in classes
        ]
        tables.append(Table("AP per class in percent", ("class", *tasks), rows))
    return tables


def describe_environment() -> dict[str, str]:
    """Interpreter, machine and the versions of the packages that decide a result."""
    versions = {
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "CPU count": str(os.cpu_count()),
    }
    installed = {d.name for d in metadata.distributions() if d.name}
    shown = sorted(n for n in installed if n.startswith("okulo-"))
    others = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "pycocotools")
    shown += [name for name in others if name in installed]
    return versions | {name: metadata.version(name) for name in shown}


def _chart(title: str, metrics: Metrics, names: Sequence[str], y_label: str = "") -> Chart:
    series = [Series(n.rpartition("/")[2], metrics[n].keys(), metrics[n].values()) for n in names]
    return Chart(title=title, series=series, y_label=y_label)


def _groups(metrics: Metrics) -> list[str]:
    return _ordered(name.split("/", 1)[0] for name in metrics if "/" in name)


def _tasks(metrics: Metrics) -> list[str]:
    return [g for g in _groups(metrics) if any(f"{g}/{score}" in metrics for score in MAIN_SCORES)]


def _headline(metrics: Metrics) -> dict[str, Any]:
    """Step reached, last total loss, and the main scores of each task."""
    steps = [max(points) for points in metrics.values() if points]
    summary: dict[str, Any] = {"steps": max(steps)} if steps else {}
    if metrics.get("total_loss"):
        summary["total loss"] = list(metrics["total_loss"].values())[-1]
    for name, points in metrics.items():
        if name.endswith(tuple(f"/{score}" for score in (*MAIN_SCORES, "AP50"))):
            summary[name.replace("/", " ")] = points[max(points)]
    return summary


def _ordered(names: Iterable[str]) -> list[str]:
    """Without repetition, in order of first appearance."""
    return list(dict.fromkeys(names))
