"""The package: what it names, that it is light, and what it says of itself."""

import json
import subprocess
import sys

import pytest

import okulo_ops
from okulo_ops import info


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_importing_it_does_not_import_torch():
    assert run("-c", "import sys, okulo_ops; print('torch' in sys.modules)").strip() == "False"


def test_every_public_name_is_there():
    for name in okulo_ops.__all__:
        assert getattr(okulo_ops, name) is not None
        assert name in dir(okulo_ops)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nmss'"):
        okulo_ops.nmss  # noqa: B018


def test_the_table_says_of_every_operator_what_runs_it_on_the_cpu():
    rows = {row["op"]: row for row in info.ops_table()}
    functions = {name for name in okulo_ops.__all__ if name.islower() and name != "__version__"}
    assert set(rows) == functions
    for row in rows.values():
        assert row["backends"][0].startswith(("cpu: torchvision", "cpu: pytorch"))
        assert row["reason"]


def test_the_table_tells_when_torchvision_lacks_a_kernel(monkeypatch):
    import okulo_ops._box_iou_rotated as module

    monkeypatch.setattr(module, "has_torchvision_kernel", lambda: False)
    (row,) = (row for row in info.ops_table() if row["op"] == "box_iou_rotated")
    assert row["backends"][0].startswith("cpu: pytorch")
    assert "no such kernel" in row["reason"]


def test_the_table_prints_for_people_and_machines(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["okulo_ops.info"])
    assert info.main() == 0
    assert "roi_align" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["okulo_ops.info", "--json"])
    assert info.main() == 0
    assert json.loads(capsys.readouterr().out) == info.ops_table()
