"""Average precision on cases that can be computed by hand, and what pycocotools leaves to us.

Rows D2-713 (names, percent, NaN, masks decide sizes), D2-716 (limit of detections per image).
"""

import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from okulo_evaluation.coco_metrics import coco_metrics


def truth(*boxes, categories=("thing",), labels=None):
    labels = labels or [1] * len(boxes)
    return {
        "images": [{"id": 1, "height": 200, "width": 200}],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(categories)],
        "annotations": [
            {
                "id": k + 1,
                "image_id": 1,
                "category_id": label,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for k, (box, label) in enumerate(zip(boxes, labels, strict=True))
        ],
    }


def result(box, score, label=1, **more):
    row = {"image_id": 1, "category_id": label, "bbox": list(box), "score": score}
    return row | more


BOX = (10.0, 10.0, 50.0, 50.0)  # medium: between 32^2 and 96^2
ELSEWHERE = (100.0, 100.0, 50.0, 50.0)


def test_a_perfect_detection_is_100_percent():
    scores = coco_metrics(truth(BOX), [result(BOX, 0.9)], "bbox")
    assert list(scores) == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert [scores[n] for n in ("AP", "AP50", "AP75", "APm")] == pytest.approx([100.0] * 4)
    assert math.isnan(scores["APs"])  # no object of that size: nothing was measured
    assert math.isnan(scores["APl"])


def test_a_better_scored_false_alarm_halves_precision():
    # Recall 1 is reached with one of two right, and no recall is reached with more.
    scores = coco_metrics(truth(BOX), [result(ELSEWHERE, 0.9), result(BOX, 0.8)], "bbox")
    assert scores["AP"] == pytest.approx(50.0)


def test_overlap_counts_at_each_threshold_it_reaches():
    x, y, w, h = BOX
    scores = coco_metrics(truth(BOX), [result((x, y, w, h * 0.72), 0.9)], "bbox")
    assert scores["AP50"] == pytest.approx(100.0)
    assert scores["AP75"] == pytest.approx(0.0)
    assert scores["AP"] == pytest.approx(50.0)  # 0.50, 0.55, 0.60, 0.65, 0.70 of ten thresholds


def test_a_missed_object_cuts_the_recall_axis():
    # Precision 1 up to recall 0.5: 51 of the 101 points on the axis.
    scores = coco_metrics(truth(BOX, ELSEWHERE), [result(BOX, 0.9)], "bbox")
    assert scores["AP"] == pytest.approx(100 * 51 / 101)


def test_classes_are_listed_when_there_are_several():
    coco = truth(BOX, ELSEWHERE, categories=("cat", "dog", "owl"), labels=[1, 2])
    found = [result(BOX, 0.9, 1)]
    scores = coco_metrics(
        coco, found, "bbox", class_names=["cat", "dog", "owl"], category_ids=[1, 2, 3]
    )
    assert scores["AP-cat"] == pytest.approx(100.0)
    assert scores["AP-dog"] == 0.0
    assert math.isnan(scores["AP-owl"])
    assert scores["AP"] == pytest.approx(50.0)
    alone = coco_metrics(truth(BOX), found, "bbox", class_names=["cat"], category_ids=[1])
    assert not [name for name in alone if name.startswith("AP-")]


@pytest.mark.parametrize("task", ["bbox", "segm", "keypoints"])
def test_without_results_every_score_is_nan(task, caplog):
    scores = coco_metrics(truth(BOX), [], task)
    assert len(scores) == (5 if task == "keypoints" else 6)
    assert all(math.isnan(value) for value in scores.values())
    assert "no predictions" in caplog.text


def test_the_mask_decides_what_is_small():
    mask = np.zeros((200, 200), np.uint8, order="F")
    mask[10:30, 10:30] = 1  # 400 square pixels: small, in a box of 2500: medium
    code = rle.encode(mask)
    coco = truth(BOX)
    coco["annotations"][0] |= {"segmentation": code, "area": 400}
    found = [result(BOX, 0.9, segmentation=code), result(ELSEWHERE, 0.95, segmentation=code)]
    scores = coco_metrics(coco, found[:1], "segm")
    assert scores["APs"] == pytest.approx(100.0)
    assert math.isnan(scores["APm"])


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_only_so_many_detections_per_image_and_class_count(limit):
    """detectron2 sorts the limits, so that one below 10 acts as 10; here it acts as said."""
    coco = truth(BOX, ELSEWHERE, categories=("cat", "dog"))
    found = [
        result(BOX, 0.9),
        result((0, 150, 20, 20), 0.8),
        result(ELSEWHERE, 0.7),
        result(BOX, 0.6, 2),
    ]
    kept = [r for r in found if r["category_id"] == 2] + found[:limit]
    limited = coco_metrics(coco, found, "bbox", max_dets_per_image=limit)
    assert limited == pytest.approx(coco_metrics(coco, kept, "bbox"), nan_ok=True)
    assert limited["AP"] == pytest.approx(
        [100 * 51 / 101, 100 * 51 / 101, 100 * (51 + 50 * 2 / 3) / 101][limit - 1]
    )


def test_nothing_is_printed_but_logged(capsys, caplog):
    with caplog.at_level(logging.DEBUG, logger="okulo_evaluation"):
        coco_metrics(truth(BOX), [result(BOX, 0.9)], "bbox")
    assert capsys.readouterr() == ("", "")
    assert "pycocotools: Evaluate annotation type *bbox*" in caplog.text


def test_the_inputs_stay_as_they_were():
    coco, found = truth(BOX), [result(BOX, 0.9)]
    coco_metrics(coco, found, "bbox")
    assert found == [result(BOX, 0.9)]
    assert coco == truth(BOX)


boxes = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 120)] * 2)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(boxes, st.integers(1, 2)), min_size=1, max_size=6),
    st.lists(st.tuples(boxes, st.integers(1, 2), st.floats(0, 1)), min_size=1, max_size=12),
)
def test_scores_are_those_of_pycocotools_own_summary(objects, found):
    coco = truth(*(b for b, _ in objects), categories=("a", "b"), labels=[k for _, k in objects])
    results = [result(b, score, label) for b, label, score in found]
    ours = coco_metrics(coco, results, "bbox")

    api = COCO()
    api.dataset = coco
    api.createIndex()
    theirs = COCOeval(api, api.loadRes([dict(r) for r in results]), "bbox")
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()
    expected = [100 * v if v > -1 else math.nan for v in theirs.stats[:6]]
    assert list(ours.values()) == pytest.approx(expected, abs=1e-9, nan_ok=True)
