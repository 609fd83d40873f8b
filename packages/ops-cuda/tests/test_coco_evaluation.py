"""COCO's evaluation kernel: row D2-567."""

import types

import pytest
import torch

from okulo_ops import COCOevalAccumulate, COCOevalEvaluateImages, InstanceAnnotation
from okulo_ops._operator import OPERATORS

RANGES = [[0, 1e10], [0, 60], [60, 1e10]]
THRESHOLDS = [0.5, 0.75, 0.9]


def annotation(id, score=0.0, area=50.0, crowd=False, ignore=False):
    return InstanceAnnotation(id, score, area, crowd, ignore)


def sample(images=4, categories=2):
    """Boxes of integers, so that IoUs tie; some crowds, some ignored."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda high, *shape: torch.randint(high, shape, generator=generator)
    truths, detections, next_id = [], [], 1
    for image in range(images):
        for category in range(categories):
            for kind, count in (("truth", int(draw(6, 1))), ("detection", int(draw(9, 1)))):
                for _ in range(count):
                    x, y, w, h = (draw(8, 4) + torch.tensor([0, 0, 4, 4])).tolist()
                    entry = {
                        "id": next_id, "image_id": image + 1, "category_id": category + 1,
                        "bbox": [x, y, w, h], "area": w * h, "score": float(draw(8, 1)) / 8,
                        "iscrowd": int(kind == "truth" and float(draw(5, 1)) == 0),
                    }  # fmt: skip
                    (truths if kind == "truth" else detections).append(entry)
                    next_id += 1
    return truths, detections


def test_contract(check_operator, device):
    ious = (torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) * 8).round() / 8
    flags = torch.tensor([False, False, True, True]), torch.tensor([False, True, False, True])
    args = ious.double(), *flags, torch.tensor([0.25, 0.5, 0.875], dtype=torch.float64)
    check_operator("coco_match", args, device=device, dtypes=(torch.float64,))
    args = ious[:, :0].double(), flags[0][:0], flags[1][:0], args[3]
    check_operator("coco_match", args, device=device, dtypes=(torch.float64,))


def test_kernel_and_meaning_match_alike():
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        ious = (torch.rand(6, 5, generator=generator) * 8).round().double() / 8
        ignored = (torch.rand(5, generator=generator) < 0.4).sort().values
        crowd = torch.rand(5, generator=generator) < 0.3
        args = ious, ignored, crowd, torch.tensor([0.125, 0.5, 1.0], dtype=torch.float64)
        assert torch.equal(torch.ops.okulo.coco_match(*args), OPERATORS["coco_match"](*args))


def evaluate_one(ious, gts, dts, thresholds=(0.5,), most=100):
    return COCOevalEvaluateImages([[0, 100]], most, thresholds, [[ious]], [[gts]], [[dts]])[0]


def test_an_ignored_truth_is_taken_only_if_no_other_can_be():
    gts = [annotation(1, ignore=True), annotation(2)]
    result = evaluate_one([[0.9, 0.6]], gts, [annotation(1, 0.9)])
    assert result.detection_matches.tolist() == [[2]]
    result = evaluate_one([[0.9, 0.4]], gts, [annotation(1, 0.9)])
    assert result.detection_matches.tolist() == [[1]]
    assert result.detection_ignores.tolist() == [[True]]
    assert result.ground_truth_ignores.tolist() == [False, True]


def test_the_last_of_equal_overlaps_and_a_perfect_one_are_taken():
    gts = [annotation(1), annotation(2)]
    result = evaluate_one([[0.7, 0.7]], gts, [annotation(1, 0.9)])
    assert result.detection_matches.tolist() == [[2]]
    assert evaluate_one([[1.0]], gts[:1], [annotation(1, 0.9)], [1.0]).detection_matches.item() == 1


def test_a_crowd_is_taken_many_times_and_a_truth_once():
    dts = [annotation(1, 0.9), annotation(2, 0.8)]
    for crowd, expected in ((True, [[5, 5]]), (False, [[5, 0]])):
        gts = [annotation(5, crowd=crowd, ignore=crowd)]
        assert evaluate_one([[0.6], [0.9]], gts, dts).detection_matches.tolist() == expected


def test_unmatched_detections_outside_the_range_are_ignored():
    dts = [annotation(1, 0.9, area=500), annotation(2, 0.8)]
    result = evaluate_one([], [], dts, most=1)
    assert result.detection_ignores.tolist() == [[True]]
    assert evaluate_one([], [], dts).detection_ignores.tolist() == [[True, False]]


def test_a_truth_with_id_0_is_never_matched():
    result = evaluate_one([[0.9]], [annotation(0)], [annotation(1, 0.9)])
    assert result.detection_matches.tolist() == [[0]]


def test_no_images_and_no_truth_give_minus_1():
    params = types.SimpleNamespace(
        iouThrs=[0.5], recThrs=[0.0, 1.0], catIds=[1], areaRng=[[0, 100]], maxDets=[1], imgIds=[1]
    )
    result = COCOevalAccumulate(params, [evaluate_one([], [], [annotation(1, 0.9)])])
    assert result["counts"] == [1, 2, 1, 1, 1]
    assert result["precision"] == [-1, -1]
    assert result["recall"] == [-1]
    assert COCOevalEvaluateImages([[0, 1]], 1, [0.5], [], [], []) == []
    with pytest.raises(ValueError, match=r"expected 1 evaluations.*got 0"):
        COCOevalAccumulate(params, [])


def test_pycocotools_finds_the_same(capsys):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    truths, detections = sample()
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(1, 5)],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": truths,
    }
    truth.createIndex()
    theirs = evaluation.COCOeval(truth, truth.loadRes(detections), "bbox")
    params = theirs.params
    params.areaRng, params.areaRngLbl, params.maxDets = (
        RANGES,
        ["all", "small", "large"],
        [1, 3, 10],
    )
    theirs.evaluate()
    theirs.accumulate()
    by_place = [(i, k) for i in params.imgIds for k in params.catIds]

    def of_place(anns):
        rows = [
            [
                InstanceAnnotation(
                    a["id"], a.get("score", 0.0), a["area"], bool(a["iscrowd"]), bool(a["iscrowd"])
                )
                for a in anns[place]
            ]
            for place in by_place
        ]
        return [rows[n : n + 2] for n in range(0, len(rows), 2)]

    ious = [theirs.ious[place] for place in by_place]
    results = COCOevalEvaluateImages(
        RANGES,
        10,
        params.iouThrs,
        [ious[n : n + 2] for n in range(0, len(ious), 2)],
        of_place(theirs._gts),
        of_place(theirs._dts),
    )
    ours = COCOevalAccumulate(params, results)
    assert ours["counts"] == theirs.eval["counts"]
    for key in ("precision", "recall", "scores"):
        expected = torch.from_numpy(theirs.eval[key]).flatten()
        torch.testing.assert_close(torch.tensor(ours[key], dtype=torch.float64), expected)
