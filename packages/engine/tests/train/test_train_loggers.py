"""Loggers: rows D2-229, D2-234, D2-250."""

import io
import json
import logging
import math
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from okulo_core.errors import OkuloError
from okulo_engine.loggers import (
    ConsoleLogger,
    JsonLinesConfig,
    JsonLinesLogger,
    TensorBoardConfig,
)

SCALARS = {
    "total_loss": 1.5,
    "loss_cls": 1.0,
    "loss_box": 0.5,
    "lr": 0.02,
    "time": 0.5,
    "data_time": 0.1,
    "eta_seconds": 3725.4,
}


def at(step, steps=100):
    return SimpleNamespace(step=step, steps=steps)


def test_each_write_is_one_json_object(tmp_path):
    logger = JsonLinesConfig().build(tmp_path)
    logger.before_train(at(0))
    logger.write(20, SCALARS)
    logger.write(20, {"bbox/AP": 41.0, "bbox/AP-cat": math.nan})
    logger.after_train(at(20))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": 20, **SCALARS}
    assert json.loads(lines[1]) == {"step": 20, "bbox/AP": 41.0, "bbox/AP-cat": None}


def test_lines_can_be_read_while_the_run_goes_on(tmp_path):
    logger = JsonLinesLogger(tmp_path / "m.jsonl")
    logger.before_train(at(0))
    logger.write(1, {"a": 1.0})
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"step": 1, "a": 1.0}


@pytest.mark.parametrize("rest", ['{"step": 30, "a', '{"step": 15, "a": 1}', "\x00\x00\x00\n"])
def test_resuming_drops_lines_beyond_the_step_and_a_last_one_cut_off(tmp_path, rest):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 10, "a": 1}\n{"step": 20, "a": 2}\n{"step": 30, "a": 3}\n' + rest)
    logger = JsonLinesLogger(path)
    logger.before_train(at(20))
    logger.write(30, {"a": 4.0})
    logger.after_train(at(30))
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [10, 20, 30]


def shown(terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=160, highlight=False)
    logger = ConsoleLogger(console)
    logger.before_train(at(0))
    logger.after_step(at(20))
    logger.write(20, SCALARS)
    logger.write(20, {"bbox/AP": 41.234, "bbox/AP-cat": 3.0})
    logger.after_train(at(20))
    return text.getvalue()


def test_without_a_terminal_there_are_plain_lines():
    assert shown(terminal=False).splitlines() == [
        "step 20/100  eta 1:02:05  total_loss 1.5  loss_cls 1  loss_box 0.5  lr 0.02  "
        "0.5 s/step (data 0.1)",
        "step 20/100  bbox/AP 41.23",
    ]


def test_on_a_terminal_there_is_a_bar():
    text = shown(terminal=True)
    assert "━" in text
    assert "20/100" in text
    assert "1:02:05" in text
    assert "total_loss 1.5" in text
    assert "bbox/AP 41.23" in text


def test_log_records_go_through_the_console_while_there_is_a_bar(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        logger = ConsoleLogger(Console(file=text, force_terminal=True, width=80))
        logger.before_train(at(0))
        assert handler.stream is not text
        logger.after_train(at(0))
        assert handler.stream is text
    finally:
        logging.getLogger().removeHandler(handler)


def test_tensorboard_gets_the_scalars(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardConfig().build(tmp_path)
    logger.before_train(at(0))
    logger.write(20, SCALARS)
    logger.write(40, {"bbox/AP": 41.0})
    logger.after_train(at(40))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("total_loss")] == [(20, 1.5)]
    assert [(e.step, e.value) for e in events.Scalars("bbox/AP")] == [(40, 41.0)]


def test_without_tensorboard_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(OkuloError, match=r"install okulo-engine\[tensorboard\]"):
        TensorBoardConfig().build(tmp_path)
