"""Tables and JSON."""

import json
import sys

from okulo_engine.cli.output import print_json, print_table


def test_a_plain_table_aligns_its_columns(capsys):
    print_table(("a", "long name"), [("first", "1"), ("x", "2")])
    assert capsys.readouterr().out == "a      long name\nfirst  1\nx      2\n"


def test_a_table_without_rows_shows_its_columns(capsys):
    print_table(("a", "b"), [])
    assert capsys.readouterr().out == "a  b\n"


def test_on_a_terminal_the_table_keeps_brackets(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("a",), [("[red]x[/red]",)])
    assert "[red]x[/red]" in capsys.readouterr().out


def test_json_has_no_nan(capsys):
    print_json({"bbox": {"AP": 1.5, "APl": float("nan")}, "list": [float("inf"), 2], "none": None})
    assert json.loads(capsys.readouterr().out) == {
        "bbox": {"AP": 1.5, "APl": None},
        "list": [None, 2],
        "none": None,
    }
