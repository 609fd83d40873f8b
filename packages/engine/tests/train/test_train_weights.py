"""Weights into models: rows D2-043, D2-109, D2-113, FV-068 to FV-070."""

import errno
import os
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from okulo_core.errors import CheckpointError, MissingFileError
from okulo_engine.checkpoint import (
    load_model_weights,
    model_weights,
    read_weights,
    weights_file,
    write_checkpoint,
    write_weights,
)


class Model(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, classes)
        self.same = self.head


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def source():
    torch.manual_seed(1)
    return Model()


def test_a_shared_tensor_is_stored_once_and_found_by_both_names(tmp_path, source):
    write_weights(tmp_path / "m.safetensors", source, {"a": "b"})
    stored = read_weights(tmp_path / "m.safetensors")
    assert "head.weight" in stored
    assert "same.weight" not in stored
    target = Model()
    report = load_model_weights(target, tmp_path / "m.safetensors")
    assert not report.misfits
    assert same(source, target)


def test_a_full_disk_leaves_the_old_weights_intact(tmp_path, source, monkeypatch):
    path = tmp_path / "best" / "model.safetensors"
    write_weights(path, source, {})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: No space left on device; make"):
        write_weights(path, Model(classes=5), {})
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["model.safetensors"]


def test_views_of_one_memory_can_be_stored():
    model = nn.Module()
    base = torch.arange(6.0)
    model.register_buffer("first", base[:3])
    model.register_buffer("strided", base.view(2, 3).T)
    weights = safetensors.torch.load(safetensors.torch.save(model_weights(model)))
    assert weights["first"].tolist() == [0.0, 1.0, 2.0]
    assert weights["strided"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_what_is_no_tensor_cannot_be_stored():
    class Strange(nn.Module):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(TypeError, match="'_extra_state' is a dict; register it as a buffer"):
        model_weights(Strange())


def test_an_architecture_that_differs_gives_one_table(tmp_path, source):
    weights = model_weights(source)
    del weights["body.0.bias"]
    weights["neck.weight"] = torch.zeros(2, 2)
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(weights, path)
    target = Model(classes=5)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_model_weights(target, path)
    assert str(caught.value).splitlines() == [
        f"{path} does not fit the model Model:",
        "  tensor       file    model",
        "  body.0.bias  -       (4,)    missing",
        "  head.weight  (3, 4)  (5, 4)  mismatched shape",
        "  head.bias    (3,)    (5,)    mismatched shape",
        "  neck.weight  (2, 2)  -       unexpected",
        f"{path}: 6 tensors fit the model, 1 are missing, 1 unexpected, 2 of another shape",
    ]
    after = target.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_fits_can_be_loaded_on_request(tmp_path, source):
    write_weights(tmp_path / "m.safetensors", source, {})
    target = Model(classes=5)
    head = target.head.weight.clone()
    report = load_model_weights(target, tmp_path / "m.safetensors", partial=True)
    assert report.mismatched == ["head.weight", "head.bias"]
    assert report.missing == report.unexpected == []
    assert torch.equal(target.body[0].weight, source.body[0].weight)
    assert torch.equal(target.head.weight, head)


def test_counters_of_batch_norm_may_be_missing(tmp_path, source):
    weights = model_weights(source)
    del weights["body.1.num_batches_tracked"]
    safetensors.torch.save_file(weights, tmp_path / "m.safetensors")
    assert not load_model_weights(Model(), tmp_path / "m.safetensors").misfits


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "iteration": 7},
        lambda state: {"state_dict": state},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
    ],
    ids=["plain", "model", "state_dict", "distributed"],
)
def test_files_of_torch_save_are_understood(tmp_path, source, wrap):
    torch.save(wrap(source.state_dict()), tmp_path / "m.pth")
    target = Model()
    load_model_weights(target, tmp_path / "m.pth")
    assert same(source, target)


def test_pickled_arrays_of_detectron2_are_understood(tmp_path, source):
    arrays = {name: tensor.numpy() for name, tensor in source.state_dict().items()}
    with (tmp_path / "m.pkl").open("wb") as file:
        pickle.dump({"model": arrays, "__author__": "somebody"}, file)
    target = Model()
    load_model_weights(target, tmp_path / "m.pkl")
    assert same(source, target)


def test_a_value_that_is_no_tensor_is_named(tmp_path):
    torch.save({"a": torch.zeros(1), "lr": 0.5}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=r"holds 'lr', a float, where a tensor is expected"):
        read_weights(tmp_path / "m.pth")


def test_a_file_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"model": Evil()}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="cannot read weights from"):
        read_weights(tmp_path / "m.pth")


@pytest.mark.parametrize("name", ["m.safetensors", "m.pth", "m.pkl"])
def test_a_truncated_file_is_reported_with_its_size(tmp_path, source, name):
    path = tmp_path / name
    if name.endswith("safetensors"):
        write_weights(path, source, {})
    elif name.endswith("pth"):
        torch.save(source.state_dict(), path)
    else:
        path.write_bytes(pickle.dumps({"model": {"w": np.zeros(100)}}))
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(half)
    with pytest.raises(CheckpointError, match=rf"{name} \({len(half)} bytes\).*truncated"):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"absent\.safetensors"):
        read_weights(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("inside", ["run", "run/checkpoints", "run/checkpoints/step_00000020"])
def test_a_folder_stands_for_its_newest_whole_checkpoint(tmp_path, source, inside):
    folder = tmp_path / "run" / "checkpoints"
    for step in (10, 20):
        write_checkpoint(
            folder / f"step_{step:08d}", weights=model_weights(source), state={}, metadata={}
        )
    if inside != "run/checkpoints/step_00000020":
        (folder / "step_00000020" / "state.pt").unlink()
    target = Model()
    load_model_weights(target, tmp_path / inside)
    assert same(source, target)
    step = "step_00000020" if inside.endswith("20") else "step_00000010"
    assert weights_file(tmp_path / inside) == folder / step / "model.safetensors"


def test_best_weights_can_be_named_by_their_folder(tmp_path, source):
    write_weights(tmp_path / "best" / "model.safetensors", source, {})
    assert not load_model_weights(Model(), tmp_path / "best").misfits


def test_a_folder_without_weights_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"there are no weights in .*model\.safetensors"):
        read_weights(tmp_path)
