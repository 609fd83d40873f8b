"""Checkpoint folders: rows D2-108, D2-112, FV-067, FV-077, and what befalls a disk."""

import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from okulo_core.errors import CheckpointError
from okulo_engine.checkpoint import folder as folder_module
from okulo_engine.checkpoint import (
    list_checkpoints,
    prune,
    read_checkpoint,
    read_latest,
    write_checkpoint,
)

FILES = ["SHA256SUMS", "model.safetensors", "state.pt"]


def write(folder, step, value=0.0, size=4):
    path = folder / f"step_{step:08d}"
    write_checkpoint(
        path,
        weights={"w": torch.full((size,), value)},
        state={"step": step, "nested": [{"t": torch.arange(3)}, (1, "a", None)]},
        metadata={"step": str(step)},
    )
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path):
    checkpoint = read_checkpoint(write(tmp_path, 20, 1.5))
    assert checkpoint.weights["w"].tolist() == [1.5] * 4
    assert checkpoint.metadata == {"step": "20"}
    assert checkpoint.state["nested"][1] == (1, "a", None)
    assert checkpoint.state["nested"][0]["t"].tolist() == [0, 1, 2]


def test_the_files_are_those_of_the_libraries_and_of_sha256sum(tmp_path):
    from safetensors.torch import load_file

    path = write(tmp_path, 20, 2.0)
    assert names(path) == FILES
    assert load_file(path / "model.safetensors")["w"].tolist() == [2.0] * 4
    assert torch.load(path / "state.pt", weights_only=True)["step"] == 20
    check = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=path, capture_output=True)
    assert check.returncode == 0


def test_a_state_that_could_not_be_loaded_is_not_written(tmp_path):
    state = {"hooks": {"Mine": [1.0, np.float64(2.0)]}}
    with pytest.raises(TypeError, match=r"state\['hooks'\]\['Mine'\]\[1\] is .* numpy.float64"):
        write_checkpoint(tmp_path / "step_00000001", weights={}, state=state, metadata={})
    assert names(tmp_path) == []


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    write(tmp_path, 20, 1.0)
    assert read_checkpoint(write(tmp_path, 20, 2.0)).weights["w"][0] == 2.0
    assert names(tmp_path) == ["step_00000020"]


def test_no_checkpoint_is_no_error(tmp_path):
    assert read_latest(tmp_path / "absent") is None


def damage(path, how):
    file = path / how[0]
    data = file.read_bytes()
    if how[1] == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif how[1] == "emptied":
        file.write_bytes(b"")
    elif how[1] == "changed":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    else:
        file.unlink()


@pytest.mark.parametrize("how", ["truncated", "emptied", "changed", "removed"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_and_said_so(tmp_path, caplog, name, how):
    good, bad = write(tmp_path, 10, 1.0), write(tmp_path, 20, 2.0)
    damage(bad, (name, how))
    with pytest.raises(CheckpointError, match=f"checkpoint {bad} is (damaged|incomplete)"):
        read_checkpoint(bad)
    assert read_latest(tmp_path).path == good
    assert f"checkpoint {bad} is" in caplog.text
    assert f"falling back to {good}" in caplog.text


def test_if_all_are_damaged_the_message_names_them_all(tmp_path):
    paths = [write(tmp_path, step) for step in (10, 20)]
    for path in paths:
        damage(path, ("state.pt", "truncated"))
    with pytest.raises(CheckpointError, match="no checkpoint can be read") as caught:
        read_latest(tmp_path)
    assert all(str(path) in str(caught.value) for path in paths)


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_checkpoint_intact(tmp_path, monkeypatch, failing):
    old = write(tmp_path, 10, 1.0)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "write":
        monkeypatch.setattr(folder_module, "_write_through", full)
    elif failing == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr("pathlib.Path.rename", full)
    message = f"cannot write the checkpoint .*step_00000020: No space left on device; {old} is int"
    with pytest.raises(CheckpointError, match=message):
        write(tmp_path, 20, 2.0)
    monkeypatch.undo()
    assert names(tmp_path) == ["step_00000010"]
    assert read_latest(tmp_path).weights["w"][0] == 1.0


def test_a_file_that_may_not_grow_leaves_the_old_checkpoint_intact(tmp_path):
    old = write(tmp_path, 10, 1.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"File too large.*is intact; make room there"):
            write(tmp_path, 20, size=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["step_00000010"]
    assert read_latest(tmp_path).path == old


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from okulo_engine.checkpoint import prune
sys.path.insert(0, {here!r})
from test_train_checkpoint import write

def dying(function):
    def call(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*args, **kwargs)
    return call

for number in range(100):
    place = Path(sys.argv[1], f"{{number:03}}")
    child = os.fork()
    if child == 0:
        write(place, 10, 1.0)
        write(place, 20, 2.0)
        left = number
        for name in ("mkdir", "rename", "open"):
            setattr(Path, name, dying(getattr(Path, name)))
        os.fsync, os.rmdir, os.unlink = dying(os.fsync), dying(os.rmdir), dying(os.unlink)
        write(place, 20, 3.0)  # replaces one, the hardest case
        prune(place, keep=1, newest=place / "step_00000020")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_kill_at_any_point_of_writing_leaves_a_whole_checkpoint(tmp_path):
    """A kill before the first call that touches the disk, before the second, and so on."""
    script = KILLED_WHILE_WRITING.format(here=os.path.dirname(__file__))
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    seen = []
    for place in sorted(tmp_path.iterdir()):
        latest = read_latest(place)
        assert latest is not None, place
        seen.append((latest.state["step"], latest.weights["w"][0].item()))
    assert seen[-1] == (20, 3.0)
    assert set(seen) == {(10, 1.0), (20, 2.0), (20, 3.0)}
    assert len(seen) > 15  # points at which it was killed


def test_pruning_keeps_the_latest_and_clears_what_a_kill_left(tmp_path):
    for step in (10, 20, 30):
        write(tmp_path, step)
    (tmp_path / ".step_00000040.unfinished").mkdir()
    prune(tmp_path, keep=2, newest=tmp_path / "step_00000030")
    assert names(tmp_path) == ["step_00000020", "step_00000030"]


def test_pruning_does_not_count_what_lies_beyond_the_newest(tmp_path):
    """A run that fell back from a damaged step 30 to 20 must not delete 20 for its sake."""
    for step in (10, 20, 25, 30):
        write(tmp_path, step)
    prune(tmp_path, keep=2, newest=tmp_path / "step_00000025")
    assert names(tmp_path) == ["step_00000020", "step_00000025", "step_00000030"]


def test_steps_are_listed_in_order(tmp_path):
    for step in (100, 20, 3):
        write(tmp_path, step)
    (tmp_path / "step_notes.txt").write_text("no folder")
    steps = [int(path.name.removeprefix("step_")) for path in list_checkpoints(tmp_path)]
    assert steps == [3, 20, 100]
