"""The commands that concern a run, on a toy world: train, eval, predict, config."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import okulo_engine.train
from okulo_core.config.text import parse_yaml
from okulo_core.errors import CheckpointError
from okulo_core.hookspecs import hookimpl
from okulo_engine.cli.main import main
from okulo_engine.cli.predicting import stored_info, unique_names


@pytest.fixture
def okulo(toys, tmp_path, monkeypatch, capsys):
    """Run a command in the folder of the toy world; its exit code, output and messages."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        code = main([str(item) for item in argv], plugins=toys)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    run.plugins = toys
    return run


@pytest.fixture
def weights(tmp_path):
    """Stored weights of the toy model, without a word on the data they come from."""
    path = tmp_path / "toy.safetensors"
    safetensors.torch.save_file({"brightness": torch.tensor(0.5)}, path)
    return path


def test_training_writes_its_folder_and_prints_the_evaluation(okulo, tmp_path):
    done = okulo("train", "toy.yaml", "--output", "out", "steps=2", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"bbox": {"images": 4.0, "AP-empty": None}}
    assert parse_yaml((tmp_path / "out/config.yaml").read_text())["steps"] == 2
    assert (tmp_path / "out/checkpoints/step_00000002/model.safetensors").exists()


def test_the_folder_is_named_after_the_run_unless_given(okulo, tmp_path):
    assert okulo("train", "toy://toy").code == 0
    assert (tmp_path / "runs/toy/config.yaml").exists()


def test_a_training_is_resumed(okulo, tmp_path):
    assert okulo("train", "toy.yaml", "--output", "out", "steps=1").code == 0
    refused = okulo("train", "toy.yaml", "--output", "out", "steps=2")
    assert refused.code == 1
    assert "--resume" in refused.err
    assert okulo("train", "toy.yaml", "--output", "out", "--resume", "steps=2").code == 0
    assert (tmp_path / "out/checkpoints/step_00000002").exists()


def test_an_interrupted_training_says_how_to_go_on(okulo, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(okulo_engine.train, "train", interrupted)
    stopped = okulo("train", "toy.yaml", "seed=3", "--output", "my out")
    assert stopped.code == 130
    line = "go on with: okulo train toy.yaml seed=3 --output 'my out' --resume"
    assert stopped.err == f"okulo: interrupted; {line}\n"


def test_hooks_of_plugins_observe_a_training(okulo, monkeypatch):
    class Watching:
        @hookimpl
        def okulo_run_hooks(self, config):
            return [f"hook for {config.steps} steps"]

    seen = []
    train = lambda config, hooks, **kwargs: seen.extend(hooks) or {}
    monkeypatch.setattr(okulo_engine.train, "train", train)
    okulo.plugins.register("watching", Watching())
    assert okulo("train", "toy.yaml").code == 0
    assert seen == ["hook for 3 steps"]


@pytest.mark.parametrize("command", [["train"], ["config", "show"], ["config", "check"]])
def test_every_fault_of_a_configuration_is_listed(okulo, command):
    failed = okulo(*command, "toy.yaml", "stepz=3", "seed=no", "model.type=toi")
    assert failed.code == 1
    for fault in ("stepz", "steps", "seed", "'no'", "toi", "toy"):
        assert fault in failed.err
    assert "Traceback" not in failed.err


def test_a_missing_configuration_is_named(okulo):
    failed = okulo("train", "nowhere.yaml")
    assert failed.code == 1
    assert "nowhere.yaml" in failed.err


def test_evaluation_as_a_table_and_as_json(okulo, weights, tmp_path):
    done = okulo("eval", "toy.yaml", "--weights", weights, "--output", "scores")
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines()] == [
        ["task", "metric", "value"],
        ["bbox", "images", "4.00"],
        ["bbox", "AP-empty", "nan"],
    ]
    assert (tmp_path / "scores/metrics.json").exists()
    done = okulo("eval", "toy.yaml", "test_data.dataset.count=2", "--weights", weights, "--json")
    assert json.loads(done.out) == {"bbox": {"images": 2.0, "AP-empty": None}}


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_weights_of_another_model_are_refused(okulo, command, tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"darkness": torch.zeros(2)}, path)
    images = ["0.png", "--output", "out"] if command == "predict" else []
    failed = okulo(command, "toy.yaml", "--weights", path, *images)
    assert failed.code == 1
    assert "darkness" in failed.err
    assert "brightness" in failed.err


def test_predictions_are_drawn_and_written_as_coco_results(okulo, weights, tmp_path):
    done = okulo("predict", "toy.yaml", "--weights", weights, "0.png", "2.png", "--output", "out")
    assert done.code == 0
    assert done.out == "2 detections in 2 of 2 images: out\n"
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results == [
        {
            "image_id": i,
            "file_name": f"{i}.png",
            "category_id": 9,
            "bbox": [1.0, 1.0, 4.0, 3.0],
            "score": 0.75,
        }
        for i in (0, 2)
    ]
    drawn = np.array(Image.open(tmp_path / "out/2.png"))
    assert drawn.shape == (6, 8, 3)
    assert drawn[0, 0].tolist() == [255, 255, 255]
    assert (drawn[1:] == 80).all()


def test_the_threshold_concerns_the_picture_only(okulo, weights, tmp_path):
    options = ["--weights", weights, "--output", "out", "--threshold", "0.8"]
    assert okulo("predict", "toy.yaml", "2.png", *options).code == 0
    assert np.array(Image.open(tmp_path / "out/2.png"))[0, 0].tolist() == [80, 80, 80]
    assert len(json.loads((tmp_path / "out/results.json").read_text())) == 1


def test_masks_and_keypoints_are_in_cocos_form(okulo, weights, tmp_path):
    run = (tmp_path / "toy.yaml").read_text().replace("{type: toy}", "{type: toy, masks: true}", 1)
    (tmp_path / "masks.yaml").write_text(run)
    assert okulo("predict", "masks.yaml", "--weights", weights, "0.png", "--output", "o").code == 0
    (result,) = json.loads((tmp_path / "o/results.json").read_text())
    assert result["keypoints"] == [2.0, 3.0, 0.25, 3.5, 0.5, 0.5]
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 1:5] = True
    assert (decoded(result["segmentation"]) == mask).all()


def decoded(code):
    """COCO's compressed run lengths, read by their definition: 5 bits at a time, column by column.

    From the third run on, the difference to the run two before is stored.
    """
    runs = []
    values = iter(ord(char) - 48 for char in code["counts"])
    for value in values:
        number, shift = value & 31, 5
        while value & 32:
            value = next(values)
            number |= (value & 31) << shift
            shift += 5
        if value & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(code["size"][::-1]).T


def test_what_the_training_knew_of_its_classes_comes_with_the_weights(okulo, tmp_path):
    path = tmp_path / "informed.safetensors"
    info = {"name": "cells", "thing_classes": ["a", "b"], "thing_dataset_ids": [3, 5]}
    metadata = {"info": json.dumps(info)}
    safetensors.torch.save_file({"brightness": torch.tensor(0.5)}, path, metadata)
    assert okulo("predict", "toy.yaml", "--weights", path, "0.png", "--output", "out").code == 0
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    assert result["category_id"] == 5


@pytest.mark.parametrize("place", ["out", "out/checkpoints", "out/checkpoints/step_00000002"])
def test_predictions_with_a_runs_folder_need_no_data_set(okulo, place, monkeypatch):
    assert okulo("train", "toy.yaml", "--output", "out", "steps=2").code == 0

    def build(config):
        raise AssertionError("the data set is built")

    assert stored_info(place).thing_dataset_ids == (7, 9)
    dataset = okulo.plugins.catalog().config_class("dataset", "toy")
    monkeypatch.setattr(dataset, "build", build)
    done = okulo("predict", "toy.yaml", "0.png", "--weights", place, "--output", "pictures")
    assert done.code == 0


@pytest.mark.parametrize("content", ["cut", "info"])
def test_damaged_weights_are_an_error_of_one_line(okulo, weights, content):
    if content == "cut":
        weights.write_bytes(weights.read_bytes()[:20])
    else:
        metadata = {"info": '{"name": '}
        safetensors.torch.save_file({"brightness": torch.tensor(0.5)}, weights, metadata)
    failed = okulo("predict", "toy.yaml", "--weights", weights, "0.png", "--output", "out")
    assert failed.code == 1
    assert failed.err.startswith("okulo: error: cannot read")
    assert "toy.safetensors" in failed.err
    with pytest.raises(CheckpointError, match=r"toy\.safetensors"):
        stored_info(weights)


def test_labels_that_the_data_set_lacks_are_reported(okulo, tmp_path):
    path = tmp_path / "informed.safetensors"
    metadata = {"info": json.dumps({"name": "cells", "thing_classes": ["a"]})}
    safetensors.torch.save_file({"brightness": torch.tensor(0.5)}, path, metadata)
    done = okulo("predict", "toy.yaml", "--weights", path, "0.png", "--output", "out")
    assert done.code == 1
    assert "has label 1, expected 0..0: 'cells' has 1 classes" in done.err


def test_bad_images_are_reported_at_the_end_and_the_others_done(okulo, weights, tmp_path):
    (tmp_path / "cut.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    images = ["gone.png", "0.png", "cut.png", "1.png"]
    done = okulo("predict", "toy.yaml", "--weights", weights, *images, "--output", "out")
    assert done.code == 1
    assert done.out == "2 detections in 2 of 4 images: out\n"
    first, second = done.err.splitlines()
    assert "gone.png" in first
    assert "cut.png" in second
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0.png",
        "1.png",
        "results.json",
    ]


def test_pictures_are_upright_as_exif_says(okulo, weights, tmp_path):
    image = Image.new("RGB", (8, 6), "black")
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    options = ["--weights", weights, "--output", "out"]
    assert okulo("predict", "toy.yaml", "turned.jpg", *options).code == 0
    assert Image.open(tmp_path / "out/turned.png").size == (6, 8)


def test_equal_names_are_told_apart():
    assert unique_names(["a/1.jpg", "b/1.png", "2.png", "c/1.jpg"]) == ["1", "1-2", "2", "1-3"]


def test_predicting_needs_test_data(okulo, weights, tmp_path):
    run = (tmp_path / "toy.yaml").read_text()
    for line in ("test_data: *data", "evaluators: [{type: toy}]"):
        run = run.replace(line, "")
    (tmp_path / "untested.yaml").write_text(run)
    failed = okulo("predict", "untested.yaml", "--weights", weights, "0.png", "--output", "out")
    assert failed.code == 1
    assert "test_data" in failed.err


def test_show_prints_every_setting_and_reads_back(okulo, tmp_path):
    shown = okulo("config", "show", "toy.yaml", "train_data.batch_size=1")
    data = parse_yaml(shown.out)
    assert data["train_data"]["batch_size"] == 1
    assert data["train_data"]["aspect_ratio_grouping"] is True
    (tmp_path / "again.yaml").write_text(shown.out)
    assert okulo("config", "show", "again.yaml").out == shown.out
    assert json.loads(okulo("config", "show", "again.yaml", "--json").out) == data


def test_diff_lists_the_settings_that_changed(okulo, tmp_path):
    run = (tmp_path / "toy.yaml").read_text()
    (tmp_path / "longer.yaml").write_text(run.replace("steps: 3", "steps: 30"))
    rows = okulo("config", "diff", "toy.yaml", "longer.yaml").out.splitlines()
    assert [row.split() for row in rows] == [
        ["setting", "toy.yaml", "longer.yaml"],
        ["steps", "3", "30"],
    ]
    changes = json.loads(okulo("config", "diff", "toy.yaml", "longer.yaml", "--json").out)
    assert changes == [{"path": "steps", "old": 3, "new": 30}]
    (tmp_path / "clipped.yaml").write_text(run + "clip_gradients: {type: norm, value: 10.0}\n")
    assert "clip_gradients" in okulo("config", "diff", "toy.yaml", "clipped.yaml").out


def test_check_builds_the_model_and_says_what_it_looked_at(okulo):
    done = okulo("config", "check", "toy.yaml")
    assert done.code == 0
    assert "1 parameters" in done.out
    assert "Not looked at: data sets and stored weights." in done.out
    found = json.loads(okulo("config", "check", "toy.yaml", "--json").out)
    assert found["parameters"] == 1
    assert found["components"]["train_data.sampler"] == "training"
    assert found["components"]["evaluators.0"] == "toy"


def test_the_schema_describes_a_run(okulo):
    schema = json.loads(okulo("config", "schema").out)
    assert "train_data" in json.dumps(schema)
