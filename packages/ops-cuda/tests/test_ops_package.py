"""The package: what it names, that it is light, what it says of itself; D2-569: without kernels."""

import json
import subprocess
import sys

import pytest

import okulo_ops
from okulo_ops import _library, info


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
    with pytest.raises(AttributeError, match="nmss"):
        okulo_ops.nmss  # noqa: B018


def rows():
    return {row["op"]: row for row in info.ops_table()}


def test_the_table_says_of_every_operator_what_runs_it():
    table = rows()
    assert {"sigmoid_focal_loss", "sigmoid_focal_loss_backward"} <= set(table)
    for row in table.values():
        assert [entry.split(": ")[0] for entry in row["backends"]] == ["cpu", "cuda"]
        assert {entry.split(": ")[1] for entry in row["backends"]} <= {"native", "pytorch"}


def test_an_operator_that_is_not_native_has_a_reason():
    for row in rows().values():
        for entry in row["backends"]:
            device, backend = entry.split(": ")
            assert (f"{device}: " in row["reason"]) == (backend == "pytorch")


def test_without_kernels_the_reason_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "FOLDER", tmp_path)
    assert "build_kernels.py" in _library._load("okulo_ops_cpu.so")
    (tmp_path / "build.json").write_text('{"okulo_ops_cuda.so": "nvcc was not found"}')
    assert _library._load("okulo_ops_cuda.so") == "nvcc was not found"


def test_a_file_that_does_not_load_warns_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "FOLDER", tmp_path)
    (tmp_path / "okulo_ops_cpu.so").write_text("not a library")
    with pytest.warns(UserWarning, match="does not load, operators run in PyTorch"):
        assert "okulo_ops_cpu.so" in _library._load("okulo_ops_cpu.so")


def test_a_processor_without_avx2_gets_no_kernels(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    assert _library._load_cpu() == "this processor has no AVX2"


def test_the_table_prints_for_people_and_machines(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["okulo_ops.info"])
    assert info.main() == 0
    assert "sigmoid_focal_loss" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["okulo_ops.info", "--json"])
    assert info.main() == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"kernels": info.kernels(), "operators": info.ops_table()}
