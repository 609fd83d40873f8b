"""COCO scores against recorded ones, to 1e-6 percent.

detectron2's own (golden/detectron2/eval) and the published ones of COCO's example results
(data/coco-fixtures). Rows D2-711, D2-712, D2-713, D2-714, D2-716.
"""

import json
import math

import numpy as np
import pytest
import torch

from okulo_core.data.coco_format import records_to_coco
from okulo_core.data.coco_results import instances_to_coco_json
from okulo_core.structures import Boxes, Instances
from okulo_core.testing import shared_path
from okulo_evaluation.coco_evaluator import CocoEvaluator
from okulo_evaluation.coco_metrics import coco_metrics, metric_names

pytestmark = [
    pytest.mark.shared,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools"),
]

GOLDEN = "golden/detectron2/eval"


def golden(name: str):
    return json.loads(shared_path(f"{GOLDEN}/expected.json").read_text())[name]


def evaluated(dataset, pairs, img_ids=None, **options):
    evaluator = CocoEvaluator(dataset, **options)
    evaluator.reset()
    for sample, prediction in pairs:
        evaluator.process([sample], [prediction])
    return evaluator.evaluate(img_ids)


def assert_scores(actual, expected):
    """``expected`` has None for NaN, as JSON has no NaN."""
    assert list(actual) == list(expected)
    for task, scores in expected.items():
        assert list(actual[task]) == list(scores)
        wanted = [math.nan if value is None else value for value in scores.values()]
        np.testing.assert_allclose(list(actual[task].values()), wanted, rtol=0, atol=1e-6)


@pytest.fixture
def instances_case(load_dataset, load_predictions):
    dataset = load_dataset(shared_path(f"{GOLDEN}/coco/gt_instances.json"))
    return dataset, load_predictions(shared_path(f"{GOLDEN}/coco/predictions.json"), dataset)


@pytest.mark.parametrize("max_dets", [None, 300])
def test_boxes_and_masks_score_as_detectron2(instances_case, max_dets):
    scores = evaluated(*instances_case, max_dets_per_image=max_dets)
    assert_scores(scores, golden(f"coco_fast0_maxdets_{max_dets}"))


def test_a_subset_of_images_scores_as_detectron2(instances_case):
    expected = golden("coco_subset_img_ids")
    scores = evaluated(*instances_case, img_ids=expected["img_ids"], tasks=["bbox"])
    assert_scores(scores, expected["results"])


@pytest.mark.parametrize("sigmas", ["default", "custom"])
def test_keypoints_score_as_detectron2(load_dataset, load_predictions, sigmas):
    dataset = load_dataset(shared_path(f"{GOLDEN}/coco_keypoints/gt.json"))
    path = shared_path(f"{GOLDEN}/coco_keypoints/predictions_model_coordinates.json")
    pairs = load_predictions(path, dataset, keypoint_shift=0.0)
    expected = golden(f"coco_keypoints_{sigmas}_fast0")
    scores = evaluated(dataset, pairs, kpt_oks_sigmas=expected["sigmas"])
    assert_scores(scores, expected["results"])


def test_instances_become_the_same_json_as_in_detectron2():
    masks = torch.zeros(2, 30, 40, dtype=torch.bool)
    masks[0, 3:9, 2:8] = True
    masks[1, ::2] = True
    instances = Instances(
        (30, 40),
        pred_boxes=Boxes(torch.tensor([[1.5, 2, 10, 20], [0, 0, 39, 29]])),
        scores=torch.tensor([0.9, 0.25]),
        pred_classes=torch.tensor([2, 0]),
        pred_masks=masks,
        pred_keypoints=torch.arange(18.0).reshape(2, 3, 3),
    )
    assert instances_to_coco_json(instances, 5) == golden("instances_to_coco_json")["output"]


PUBLISHED = [
    ("fakebbox100", "bbox"),
    ("fakesegm100", "segm"),
    ("keypoints_1img", "keypoints"),
    ("coco_mini_keypoints_train", "keypoints"),
    ("coco_mini_keypoints_val", "keypoints"),
]


def published(case: str):
    folder = shared_path("data/coco-fixtures")
    known = json.loads((folder / "expected.json").read_text())[case]
    truth, results = (json.loads((folder / known[key]).read_text()) for key in ("gt", "dt"))
    return truth, results, [100 * value for value in known["stats"]]


@pytest.mark.parametrize(("case", "task"), PUBLISHED)
def test_published_results_score_as_published(load_dataset, case, task):
    truth, results, expected = published(case)
    scores = coco_metrics(records_to_coco(load_dataset(truth)), results, task)
    np.testing.assert_allclose(list(scores.values()), expected[: len(scores)], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("case", "task"), PUBLISHED)
def test_they_score_the_same_as_predictions_of_a_model(load_dataset, load_predictions, case, task):
    truth, results, expected = published(case)
    dataset = load_dataset(truth)
    scores = evaluated(dataset, load_predictions(results, dataset), tasks=[task])[task]
    actual = [scores[name] for name in metric_names(task)]
    # Boxes are float32: one of these 733 boxes has an IoU that is a threshold but for rounding.
    tolerance = 0.1 if task == "bbox" else 1e-6
    np.testing.assert_allclose(actual, expected[: len(actual)], rtol=0, atol=tolerance)
