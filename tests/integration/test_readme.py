"""What README.md shows is executed."""

import os
import re
import subprocess
import sys

import pytest
from house import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """The fenced code that follows a marker comment."""
    found = re.search(rf"<!-- {marker}.*?-->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block marked {marker!r}"
    return found[1]


def test_quick_start_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", block("quick start")],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout.split()[-1]) <= 100


def test_both_commands_name_scripts_of_the_environments():
    import tomllib

    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
    assert "hatch run demo" in block("demo command")
    assert "demo" in environments["default"]["scripts"]
    assert "hatch run test:run" in block("test command")
    assert "run" in environments["test"]["scripts"]


def test_every_folder_of_the_package_map_exists():
    folders = re.findall(r"`((?:packages|plugins)/[\w-]+)`", README)
    assert len(folders) == 11
    for folder in folders:
        assert (ROOT / folder).is_dir(), folder


@pytest.mark.parametrize("folder", ["packages/core-structures", "packages/modeling"])
def test_examples_of_a_package_run(folder, tmp_path):
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, f"{folder}/README.md", "exec"), {})
