"""The COCO evaluator around its scores: tasks, files, errors, several processes.

Rows D2-704 (protocol), D2-711 (tasks, truth), D2-712 (what is kept), D2-713 (files, checks).
"""

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.structures import Boxes, Instances, RotatedBoxes
from okulo_evaluation.coco_evaluator import CocoEvaluator, CocoEvaluatorConfig

BOX = (10.0, 10.0, 60.0, 60.0)
POLYGON = ((10.0, 10.0, 60.0, 10.0, 60.0, 60.0, 10.0, 60.0),)
POINTS = tuple(v for k in range(17) for v in (12.0 + 2 * k, 20.0 + k, 2))


def dataset(*annotations, images=2, **info):
    """Image 0 has the annotations, the others are empty; ids are 100, 101, ..."""
    info = {"thing_classes": ("cat", "dog"), "thing_dataset_ids": (7, 3)} | info
    records = [
        ImageRecord(
            file_name=f"{k}.png",
            image_id=100 + k,
            height=100,
            width=100,
            annotations=annotations if k == 0 else (),
        )
        for k in range(images)
    ]
    return InMemoryDataset(DatasetInfo(name="pets", **info), records)


CAT = Annotation(bbox=BOX, category_id=0)


def prediction(boxes=(BOX,), label=0, score=0.9, masks=False, points=0):
    n = len(boxes)
    table = Instances((100, 100))
    table.pred_boxes = Boxes(torch.tensor(boxes).reshape(n, 4))
    table.scores = torch.full((n,), score)
    table.pred_classes = torch.full((n,), label)
    if masks:
        table.pred_masks = torch.zeros(n, 100, 100, dtype=torch.bool)
        table.pred_masks[:, 10:60, 10:60] = True
    if points:
        table.pred_keypoints = torch.tensor(POINTS).reshape(1, 17, 3)[:, :points].repeat(n, 1, 1)
    return {"instances": table}


def evaluated(data, *predictions, ids=(100, 101), **options):
    evaluator = CocoEvaluatorConfig(**options.pop("config", {})).build(data, **options)
    evaluator.reset()
    for image_id, output in zip(ids, predictions, strict=False):
        evaluator.process([{"image_id": image_id}], [output])
    return evaluator.evaluate()


def test_a_perfect_box_scores_100():
    scores = evaluated(dataset(CAT), prediction(), prediction(boxes=()))
    assert list(scores) == ["bbox"]
    assert scores["bbox"]["AP"] == pytest.approx(100.0)
    assert scores["bbox"]["AP-cat"] == pytest.approx(100.0)
    assert math.isnan(scores["bbox"]["AP-dog"])


def test_reset_forgets():
    evaluator = CocoEvaluator(dataset(CAT))
    evaluator.process([{"image_id": 100}], [prediction()])
    evaluator.reset()
    assert evaluator.evaluate() == {}


def test_an_image_nobody_processed_still_counts_as_missed():
    data = dataset(CAT)
    assert evaluated(data, prediction(boxes=()), prediction(label=1))["bbox"]["AP"] == 0.0


def test_an_image_processed_twice_counts_once():
    found, alarm = prediction(), prediction(boxes=((70.0, 70.0, 90.0, 90.0),), score=0.95)
    once = evaluated(dataset(CAT), found, alarm)
    again = evaluated(
        dataset(CAT), found, alarm, found, alarm, alarm, ids=(100, 101, 100, 101, 101)
    )
    assert again["bbox"] == pytest.approx(once["bbox"], nan_ok=True)
    assert once["bbox"]["AP"] == pytest.approx(50.0)


def test_tasks_follow_what_predictions_and_truth_both_have():
    full = attrs.evolve(CAT, segmentation=POLYGON, keypoints=POINTS)
    everything = prediction(masks=True, points=17)
    assert list(evaluated(dataset(full), everything)) == ["bbox", "segm", "keypoints"]
    assert list(evaluated(dataset(full), prediction(masks=True))) == ["bbox", "segm"]
    assert list(evaluated(dataset(CAT), everything)) == ["bbox"]
    # One empty image does not make the masks of the others disappear.
    none_found = prediction(boxes=(), masks=True, points=17)
    assert list(evaluated(dataset(full), none_found)) == ["bbox", "segm", "keypoints"]


def test_masks_and_keypoints_that_fit_score_100():
    full = attrs.evolve(CAT, segmentation=POLYGON, keypoints=POINTS)
    scores = evaluated(
        dataset(full, attrs.evolve(CAT, segmentation=POLYGON, category_id=1)),
        prediction(masks=True, points=17),
    )
    assert scores["segm"]["AP-cat"] == pytest.approx(100.0)
    # The other object has no keypoints: it is ignored, not missed.
    assert scores["keypoints"]["AP"] == pytest.approx(100.0)
    assert list(scores["keypoints"])[:5] == ["AP", "AP50", "AP75", "APm", "APl"]


def test_asked_tasks_only():
    full = attrs.evolve(CAT, segmentation=POLYGON)
    scores = evaluated(dataset(full), prediction(masks=True), config={"tasks": ("segm",)})
    assert list(scores) == ["segm"]


@pytest.mark.parametrize(
    ("annotation", "output", "task", "message"),
    [
        (CAT, prediction(masks=True), "segm", "'segm' needs masks of all objects, which 'pets'"),
        (CAT, prediction(points=17), "keypoints", "'keypoints' needs keypoints, which 'pets'"),
        (CAT, prediction(), "segm", "needs predictions with 'pred_masks', got the fields"),
    ],
)
def test_a_task_that_cannot_be_measured_is_refused(annotation, output, task, message):
    with pytest.raises(ValueError, match=message):
        evaluated(dataset(annotation), output, config={"tasks": (task,)})


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"tasks must be among .*got \['boxes'\]"):
        CocoEvaluator(dataset(CAT), tasks=["boxes"])


def test_nothing_found_scores_nan():
    scores = evaluated(dataset(CAT), prediction(boxes=()), prediction(boxes=()))
    assert all(math.isnan(value) for value in scores["bbox"].values())


def test_results_are_written_with_the_files_own_category_ids(tmp_path):
    evaluated(dataset(CAT), prediction(), prediction(label=1), output_dir=tmp_path / "new")
    rows = json.loads((tmp_path / "new" / "coco_instances_results.json").read_text())
    assert [(r["image_id"], r["category_id"], r["bbox"]) for r in rows] == [
        (100, 7, [10.0, 10.0, 50.0, 50.0]),
        (101, 3, [10.0, 10.0, 50.0, 50.0]),
    ]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["coco_instances_results.json"]


def test_without_truth_results_are_written_and_nothing_is_measured(tmp_path):
    assert evaluated(dataset(), prediction(), output_dir=tmp_path) == {}
    assert json.loads((tmp_path / "coco_instances_results.json").read_text())


def test_a_data_set_without_ids_of_its_own_works():
    data = dataset(CAT, thing_dataset_ids=())
    assert evaluated(data, prediction())["bbox"]["AP-cat"] == pytest.approx(100.0)


def test_image_ids_may_be_text():
    record = ImageRecord(file_name="a", image_id="a", height=100, width=100, annotations=(CAT,))
    data = InMemoryDataset(DatasetInfo(name="pets", thing_classes=("cat", "dog")), [record])
    assert evaluated(data, prediction(), ids=("a",))["bbox"]["AP"] == pytest.approx(100.0)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(ValueError, match=r"image 100 has label 2, expected 0\.\.1: 'pets' has 2"):
        evaluated(dataset(CAT), prediction(label=2))


def test_rotated_boxes_are_refused():
    instances = Instances((20, 30), pred_boxes=RotatedBoxes(torch.zeros(1, 5)))
    with pytest.raises(TypeError, match=r"needs pred_boxes as Boxes .* got RotatedBoxes"):
        CocoEvaluator(dataset()).process([{"image_id": 100}], [{"instances": instances}])


def test_an_unknown_image_is_refused():
    with pytest.raises(ValueError, match=r"'pets' does not have: \[5\]"):
        evaluated(dataset(CAT), prediction(), ids=(5,))


@pytest.mark.parametrize(
    ("points", "sigmas"), [(17, (0.1,) * 5), (5, ()), (5, (0.1,) * 5)], ids=str
)
def test_numbers_of_keypoints_must_agree(points, sigmas):
    data = dataset(attrs.evolve(CAT, keypoints=POINTS))
    with pytest.raises(ValueError, match="keypoints per object must agree: truth has"):
        evaluated(data, prediction(points=points), config={"kpt_oks_sigmas": sigmas})


def test_other_skeletons_need_their_sigmas():
    data = dataset(attrs.evolve(CAT, keypoints=POINTS[:15]))
    scores = evaluated(data, prediction(points=5), config={"kpt_oks_sigmas": (0.05,) * 5})
    assert scores["keypoints"]["AP"] == pytest.approx(100.0)


@pytest.mark.parametrize("setting", [{"max_dets_per_image": 0}, {"kpt_oks_sigmas": (0.1, 0.0)}])
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        CocoEvaluatorConfig(**setting)


def test_two_processes_score_as_one(tmp_path):
    script = str(Path(__file__).with_name("coco_process.py"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, script, rank, "2", str(tmp_path)], env=environment)
        for rank in ("0", "1")
    ]
    one = runpy.run_path(script)["evaluated"](0, 1, tmp_path)
    assert [process.wait(timeout=300) for process in running] == [0, 0]

    main, other = (json.loads((tmp_path / f"scores-{rank}.json").read_text()) for rank in (0, 1))
    assert list(main) == list(one) == ["bbox"]
    assert main["bbox"] == pytest.approx(one["bbox"], rel=0, abs=0, nan_ok=True)
    assert np.isfinite(one["bbox"]["AP"])
    assert other == {}
    name = "coco_instances_results.json"
    assert (tmp_path / "2" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
