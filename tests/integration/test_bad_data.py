"""What a person reads when the data is wrong, from reading it to training on it."""

import json
import shutil

import pytest

from okulo_engine.cli.main import main


@pytest.fixture
def coco(tmp_path):
    """Two images with a box each, as a COCO file that a test may spoil."""
    import cv2
    import numpy as np

    folder = tmp_path / "images"
    folder.mkdir()
    data = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "circle"}]}
    data["categories"] += [{"id": 10 * k, "name": f"other{k}"} for k in range(1, 5)]
    for k in (1, 2):
        image = np.random.default_rng(k).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), image)
        data["images"].append({"id": k, "file_name": f"{k}.png", "width": 64, "height": 64})
        box = {"id": k, "image_id": k, "category_id": 3, "bbox": [8, 8, 30, 30], "area": 900}
        data["annotations"].append({**box, "iscrowd": 0, "segmentation": []})
    return folder, data


@pytest.fixture
def train_on(coco, settings, tmp_path, capsys):
    """Train on the COCO file and return the exit code and what was printed."""

    def train(*overrides):
        folder, data = coco
        file = tmp_path / "annotations.json"
        file.write_text(json.dumps(data))
        places = [
            f"{part}.dataset={{type: coco, annotations: '{file}', images: '{folder}'}}"
            for part in ("train_data", "test_data")
        ]
        keep = [line for line in settings if ".dataset." not in line]
        output = tmp_path / "run"
        shutil.rmtree(output, ignore_errors=True)
        capsys.readouterr()
        run = [*keep, *places, "steps=2", *overrides]
        code = main(["train", "recipe://shapes", *run, "--output", str(output)])
        return code, capsys.readouterr().err

    return train


def test_good_data_with_gaps_in_its_ids_trains(train_on):
    code, message = train_on()
    assert code == 0, message


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n half"])
def test_corrupt_image_is_named(train_on, coco, content):
    (coco[0] / "2.png").write_bytes(content)
    code, message = train_on()
    assert code == 1
    assert "2.png" in message
    assert "Traceback" not in message
    assert "BytesIO" not in message


def test_missing_image_is_named(train_on, coco):
    (coco[0] / "1.png").unlink()
    code, message = train_on()
    assert code == 1
    assert "1.png" in message


def test_size_that_differs_from_the_record_gives_both_sizes(train_on, coco):
    coco[1]["images"][0]["width"] = 99
    code, message = train_on()
    assert code == 1
    assert "1.png" in message
    assert "99" in message
    assert "64" in message


def test_file_without_annotations_says_so(train_on, coco):
    coco[1]["annotations"] = []
    code, message = train_on()
    assert code == 1
    assert "annotation" in message


@pytest.mark.parametrize("box", [[8, 8, -3, 5], [8, float("nan"), 5, 5]])
def test_impossible_box_names_its_annotation(train_on, coco, box):
    coco[1]["annotations"][1]["bbox"] = box
    code, message = train_on()
    assert code == 1
    assert "annotation 2" in message or "id 2" in message, message


def test_wrong_number_of_classes_is_found_before_training(train_on, coco):
    coco[1]["categories"].pop()
    code, message = train_on()
    assert code == 1
    assert "model.num_classes" in message
    assert "4" in message


def test_exploding_loss_stops_with_the_images_of_the_batch(train_on, tmp_path):
    code, message = train_on("steps=40", "optimizer.lr=1e18", "clip_gradients=null")
    assert code == 1
    assert "NaN or infinite" in message or "loss_" in message
    assert "images of the batch" in message
    assert "Traceback" not in message
    assert any((tmp_path / "run" / "failed").rglob("*.safetensors"))


def test_a_run_that_never_trained_does_not_claim_its_folder(settings, tmp_path, capsys):
    run = ["train", "recipe://shapes", *settings, "steps=1", "--output", str(tmp_path / "run")]
    missing = f"init_weights={tmp_path / 'absent.safetensors'}"
    assert main([*run, missing]) == 1
    assert "absent.safetensors" in capsys.readouterr().err
    assert main(run) == 0
    assert main(run) == 1
    assert "continue that one with --resume" in capsys.readouterr().err


def test_parts_of_a_model_that_do_not_fit_are_a_fault_of_the_configuration(settings, capsys):
    config = ["config", "check", "recipe://shapes", *settings]
    assert main([*config, "model.proposal_generator.in_features=[p9]"]) == 1
    message = capsys.readouterr().err
    assert "model: in_features" in message
    assert "p9" in message
