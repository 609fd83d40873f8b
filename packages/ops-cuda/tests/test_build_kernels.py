"""Building the kernels: what is missing is named, what does not compile fails and is shown."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "build_kernels.py"


@pytest.fixture
def checkout(tmp_path):
    """A package with one source file."""
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "csrc" / "cpu").mkdir(parents=True)
    (tmp_path / "csrc" / "cpu" / "one.cpp").write_text("int okulo_one() { return 1; }\n")
    (tmp_path / "src" / "okulo_ops").mkdir(parents=True)
    return tmp_path


def build(checkout, *arguments, **variables):
    command = [sys.executable, checkout / "build_kernels.py", *arguments]
    environment = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture
def tools():
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    pytest.importorskip("ninja")


def test_a_missing_compiler_is_named_with_a_remedy(checkout):
    result = build(checkout, CXX="no-such-compiler")
    assert result.returncode == 1
    assert "found none of no-such-compiler" in result.stderr
    assert "OKULO_OPS_PURE=1" in result.stderr


# What pip does to a build: the environment's packages are taken off the import path.
ISOLATED = "import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]; "


def isolated(checkout, code):
    command = [sys.executable, "-c", ISOLATED + "import build_kernels, sysconfig; " + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=checkout)


def test_a_missing_pytorch_is_named_with_a_remedy(checkout):
    hide = "sysconfig.get_path = lambda key: 'nowhere'; "
    result = isolated(checkout, hide + "raise SystemExit(build_kernels.main())")
    assert result.returncode == 1
    assert "OKULO_OPS_TORCH" in result.stderr
    assert "--no-build-isolation" in result.stderr


def test_an_isolated_build_finds_the_pytorch_of_the_environment(checkout):
    result = isolated(checkout, "print(build_kernels.find_torch())")
    assert result.stdout.strip().endswith("torch"), result.stderr


def test_kernels_land_beside_the_modules_with_what_they_were_built_with(checkout, tools):
    result = build(checkout, "--cuda", "no")
    assert result.returncode == 0, result.stdout + result.stderr
    folder = checkout / "src" / "okulo_ops" / "lib"
    assert (folder / "okulo_ops_cpu.so").is_file()
    information = json.loads((folder / "build.json").read_text())
    assert information["okulo_ops_cuda.so"] == "left out when the kernels were built"
    assert "-DTORCH_TARGET_VERSION=0x020a000000000000" in information["flags"]


def test_what_does_not_compile_fails_and_shows_the_compilers_message(checkout, tools):
    (checkout / "csrc" / "cpu" / "two.cpp").write_text("int okulo_two() { return nonsense; }\n")
    result = build(checkout, "--cuda", "no")
    assert result.returncode == 1
    assert "nonsense" in result.stdout
    assert "did not compile" in result.stderr
    assert not (checkout / "src" / "okulo_ops" / "lib" / "okulo_ops_cpu.so").exists()


def test_cuda_that_was_asked_for_and_cannot_be_built_is_an_error(checkout, tools):
    result = build(checkout, "--cuda", "90", CUDA_HOME=str(checkout))
    assert result.returncode == 1
    assert "CUDA kernels for 90 were asked for, but" in result.stderr
