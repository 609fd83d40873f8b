"""Weights out of files and into models. Row D2-827 (.pkl and .pth of detectron2's own models)."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from okulo_core.errors import CheckpointError, MissingFileError
from okulo_core.weights import load_weights, read_weight_file


def make_model(classes: int = 4) -> nn.Module:
    model = nn.Module()
    model.backbone = nn.Conv2d(3, 8, 3)
    model.cls_score = nn.Linear(8, classes)
    return model


def save_pth(state: dict, folder: Path) -> Path:
    torch.save({"model": state, "iteration": 3}, folder / "weights.pth")
    return folder / "weights.pth"


def save_pkl(state: dict, folder: Path) -> Path:
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    content = pickle.dumps({"model": arrays, "__author__": "somebody"})
    (folder / "weights.pkl").write_bytes(content)
    return folder / "weights.pkl"


def save_safetensors(state: dict, folder: Path) -> Path:
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.mark.parametrize("save", [save_pth, save_pkl, save_safetensors])
def test_every_format_gives_the_same_tensors(save: Callable[[dict, Path], Path], tmp_path):
    state = make_model().state_dict()
    read = read_weight_file(save(state, tmp_path))
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(read[name], tensor)


def test_prefix_of_distributed_training_is_removed(tmp_path):
    state = make_model().state_dict()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    assert read_weight_file(save_pth(wrapped, tmp_path)).keys() == state.keys()


def test_what_does_not_fit_is_one_table_and_changes_nothing():
    state = make_model(classes=9).state_dict() | {"extra": torch.zeros(2)}
    del state["backbone.weight"]
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, state, source="w.pth")
    lines = [" ".join(line.split()) for line in str(error.value).splitlines()]
    assert "backbone.weight - (8, 3, 3, 3) missing" in lines
    assert "extra (2,) - unexpected" in lines
    assert "cls_score.weight (9, 8) (4, 8) mismatched shape" in lines
    assert "cls_score.bias (9,) (4,) mismatched shape" in lines
    assert lines[-1].startswith("w.pth: 1 tensors fit the model, 1 are missing, 1 unexpected, 2 of")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_partial_loading_skips_a_head_with_other_classes():
    source, model = make_model(classes=9), make_model()
    report = load_weights(model, source.state_dict(), source="w", partial=True)
    assert report.mismatched == ["cls_score.weight", "cls_score.bias"]
    assert torch.equal(model.backbone.weight, source.backbone.weight)


def test_a_model_says_what_older_weights_mean():
    class Renamed(nn.Linear):
        def upgrade_weights(self, weights):
            return {name.removeprefix("old."): tensor for name, tensor in weights.items()}

    source, model = nn.Linear(2, 2), Renamed(2, 2)
    old = {f"old.{name}": tensor for name, tensor in source.state_dict().items()}
    assert not load_weights(model, old, source="w").misfits
    assert torch.equal(model.weight, source.weight)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path, capsys):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": {"x": np.zeros(2), "y": Evil()}}))
    with pytest.raises(CheckpointError, match=r"builtins\.print"):
        read_weight_file(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("save", [save_pth, save_pkl, save_safetensors])
def test_a_truncated_file_is_named(save: Callable[[dict, Path], Path], tmp_path):
    path = save(make_model().state_dict(), tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=rf"cannot read weights from .*{path.name}"):
        read_weight_file(path)


def test_entries_that_are_no_tensors_are_named(tmp_path):
    torch.save({"model": {"a": "text"}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="'a', a str, where a tensor is expected"):
        read_weight_file(tmp_path / "weights.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="absent"):
        read_weight_file(tmp_path / "absent.safetensors")
