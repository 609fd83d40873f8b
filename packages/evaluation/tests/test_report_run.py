"""The report of a run folder: metrics.jsonl and config.yaml as a training run leaves them."""

import json
import math

import pytest

from okulo_core.errors import MissingFileError
from okulo_evaluation.report import (
    charts_from_metrics,
    read_metrics,
    report_from_run,
    tables_from_metrics,
)


@pytest.fixture
def run(tmp_path):
    lines = [
        {"step": 20, "total_loss": 2.0, "loss_cls": 1.5, "lr": 0.01, "time": 0.2, "rpn/pos": 20.0},
        {"step": 40, "total_loss": 1.0, "loss_cls": 0.5, "lr": 0.02, "time": 0.2, "rpn/pos": 22.0},
        {"step": 40, "bbox/AP": 10.0, "bbox/AP50": 20.0, "bbox/AP-cat": 15.0, "bbox/AP-dog": 5.0},
        {"step": 80, "bbox/AP": 30.0, "bbox/AP50": 50.0, "bbox/AP-cat": 40.0, "bbox/AP-dog": 20.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.yaml").write_text("steps: 80\n")
    return tmp_path


def test_metrics_are_read_by_name_and_step(run):
    metrics = read_metrics(run / "metrics.jsonl")
    assert metrics["total_loss"] == {20: 2.0, 40: 1.0}
    assert metrics["bbox/AP"] == {40: 10.0, 80: 30.0}


def test_steps_repeated_after_a_resume_count_once_and_half_a_line_is_skipped(run):
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "total_loss": 0.75}\n{"step": 20, "lr": NaN}\n{"step": 60, "tot')
    metrics = read_metrics(run / "metrics.jsonl")
    assert metrics["total_loss"] == {20: 2.0, 40: 0.75}
    assert math.isnan(metrics["lr"][20])


def test_charts_group_what_belongs_together(run):
    charts = {c.title: c for c in charts_from_metrics(read_metrics(run / "metrics.jsonl"))}
    names = {title: [s.name for s in chart.series] for title, chart in charts.items()}
    assert names == {
        "Training losses": ["total_loss", "loss_cls"],
        "bbox: held-out scores": ["AP", "AP50"],
        "bbox: AP per class": ["AP-cat", "AP-dog"],
        "rpn": ["pos"],
        "Learning rate": ["lr"],
        "Time per step": ["time"],
    }
    assert charts["Training losses"].series[0].x == (20, 40)
    assert charts["Training losses"].series[0].y == (2.0, 1.0)


def test_tables_hold_the_last_evaluation(run):
    overall, classes = tables_from_metrics(read_metrics(run / "metrics.jsonl"))
    assert overall.columns == ("task", "AP", "AP50")
    assert overall.rows == (("bbox", 30.0, 50.0),)
    assert classes.rows == (("cat", 40.0), ("dog", 20.0))


def test_the_report_lies_in_the_run_folder(run):
    path = report_from_run(run, title="My run")
    html = path.read_text(encoding="utf-8")
    assert path == run / "report.html"
    for expected in ("My run", "Training losses", "steps: 80", "okulo-evaluation", "bbox AP50"):
        assert expected in html


def test_a_run_without_any_metric_still_gives_a_page(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    assert "<h1>" in report_from_run(tmp_path).read_text()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"metrics\.jsonl does not exist"):
        report_from_run(tmp_path)
