"""One detector through every package, by the command line: train, resume, evaluate, predict."""

import json

import pytest
from safetensors.numpy import load_file

from okulo_engine.cli.main import main


@pytest.fixture
def trained(settings, tmp_path):
    output = tmp_path / "run"
    assert main(["train", "recipe://shapes", *settings, "steps=4", "--output", str(output)]) == 0
    return output


def newest(output):
    return sorted((output / "checkpoints").glob("step_*"))[-1] / "model.safetensors"


def test_training_leaves_what_a_person_looks_for(trained):
    assert (trained / "config.yaml").exists()
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "total_loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc", "lr"} <= steps[0].keys()
    assert any("bbox/AP50" in line for line in lines)
    assert newest(trained).parent.name == "step_00000004"


def test_the_stored_config_is_the_run(trained, make_run, plugins):
    from okulo_core.config import load_config
    from okulo_engine.run_config import RunConfig

    stored = load_config(str(trained / "config.yaml"), RunConfig, plugins.catalog())
    assert stored == make_run("steps=4")


def test_eval_repeats_the_score_of_the_training(trained, capsys):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    logged = next(line["bbox/AP50"] for line in reversed(lines) if "bbox/AP50" in line)
    capsys.readouterr()
    weights = str(newest(trained))
    assert main(["eval", str(trained / "config.yaml"), "--weights", weights, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bbox"]["AP50"] == pytest.approx(logged)


def test_predict_writes_pictures_and_coco_results(trained, drawn, tmp_path):
    images = sorted(str(path) for path in drawn.glob("val-*/images/*.png"))[:2]
    output = tmp_path / "predicted"
    command = ["predict", str(trained / "config.yaml"), "--weights", str(newest(trained))]
    assert main([*command, *images, "--output", str(output), "--threshold", "0.0"]) == 0
    assert len(list(output.glob("*.png"))) == 2
    for result in json.loads((output / "results.json").read_text()):
        assert len(result["bbox"]) == 4
        assert 1 <= result["category_id"] <= 5
        assert 0 <= result["score"] <= 1


def test_an_interrupted_training_goes_on_to_the_same_weights(trained, settings, tmp_path):
    output = tmp_path / "in two parts"
    command = ["train", "recipe://shapes", *settings, "steps=4", "--output", str(output)]
    assert main([*command, "checkpoint.period=2"]) == 0
    third = newest(output).parent
    for path in sorted(third.iterdir()):
        path.unlink()
    third.rmdir()
    assert main([*command, "checkpoint.period=2", "--resume"]) == 0
    whole, parts = load_file(newest(trained)), load_file(newest(output))
    assert whole.keys() == parts.keys()
    for name in whole:
        assert (whole[name] == parts[name]).all(), name


def test_a_checkpoint_of_another_architecture_is_refused_in_one_table(trained, capsys):
    other = ["model.backbone.norm=''", "model.roi_heads.box_head.fc_dims=[24]"]
    config = ["eval", str(trained / "config.yaml"), *other, "--weights", str(newest(trained))]
    assert main(config) == 1
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().err.splitlines()}
    fc1 = lines["roi_heads.box_head.fc1.weight"]
    assert fc1[1:] == ["(32,", "784)", "(24,", "784)", "mismatched", "shape"]
    assert lines["backbone.fpn_lateral3.bias"][-1] == "missing"
    assert lines["backbone.fpn_lateral3.norm.weight"][-1] == "unexpected"
