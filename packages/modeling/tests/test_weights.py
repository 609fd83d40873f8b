"""Weight files of detectron2 and safetensors. Rows D2-827 (.pkl, .pth), D2-571; section 23.7."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from okulo_core.errors import CheckpointError
from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.norm import FrozenBatchNorm2d
from okulo_modeling.weights import load_weights


def make_model(classes: int = 4) -> nn.Module:
    model = nn.Module()
    model.backbone = Conv2d(3, 8, 3, norm=FrozenBatchNorm2d(8))
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
def test_every_format_loads_and_settings_of_older_files_are_ignored(
    save: Callable[[dict, Path], Path], tmp_path
):
    source, model = make_model(), make_model()
    state = source.state_dict() | {
        "pixel_mean": torch.zeros(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4),
        "backbone.norm.num_batches_tracked": torch.tensor(7),
    }
    report = load_weights(model, save(state, tmp_path))
    assert report.complete
    assert report.loaded == len(source.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])


def test_prefix_of_data_parallel_training_is_removed(tmp_path):
    source, model = make_model(), make_model()
    state = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    assert load_weights(model, save_pth(state, tmp_path)).complete


def test_norms_without_statistics_get_mean_0_and_variance_1(tmp_path):
    state = {n: t for n, t in make_model().state_dict().items() if "running" not in n}
    model = make_model()
    model.backbone.norm.running_mean.fill_(5.0)
    assert load_weights(model, save_pkl(state, tmp_path)).complete
    assert torch.equal(model.backbone.norm.running_mean, torch.zeros(8))
    assert torch.equal(model.backbone.norm.running_var, torch.ones(8))


def test_what_does_not_fit_is_one_table(tmp_path):
    state = make_model(classes=9).state_dict() | {"extra": torch.zeros(2)}
    del state["backbone.weight"]
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, save_pth(state, tmp_path))
    lines = [" ".join(line.split()) for line in str(error.value).splitlines()]
    assert "missing backbone.weight - (8, 3, 3, 3)" in lines
    assert "unexpected extra (2,) -" in lines
    assert "mismatched cls_score.weight (9, 8) (4, 8)" in lines
    assert "mismatched cls_score.bias (9,) (4,)" in lines
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_partial_loading_skips_a_head_with_other_classes(tmp_path):
    source, model = make_model(classes=9), make_model()
    report = load_weights(model, save_pth(source.state_dict(), tmp_path), partial=True)
    assert [row[0] for row in report.mismatched] == ["cls_score.weight", "cls_score.bias"]
    assert torch.equal(model.backbone.weight, source.backbone.weight)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path, capsys):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": {"x": np.zeros(2), "y": Evil()}}))
    with pytest.raises(CheckpointError, match=r"builtins\.print"):
        load_weights(make_model(), path)
    assert capsys.readouterr().out == ""


def test_a_truncated_file_is_named(tmp_path):
    path = save_pth(make_model().state_dict(), tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"cannot read weights from .*weights\.pth"):
        load_weights(make_model(), path)


def test_entries_that_are_no_tensors_are_named(tmp_path):
    torch.save({"model": {"a": "text"}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="'a' must be a tensor or an array, got str"):
        load_weights(make_model(), tmp_path / "weights.pth")
