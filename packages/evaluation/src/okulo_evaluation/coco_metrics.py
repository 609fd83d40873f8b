"""Average precision by pycocotools, quietly: results go to the caller, its prints to the log."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

__all__ = ["Task", "coco_metrics", "metric_names"]

logger = logging.getLogger(__name__)

Task = Literal["bbox", "segm", "keypoints"]
# pycocotools' limits on detections per image; the last is the one that AP is reported at.
DEFAULT_MAX_DETS = {"bbox": 100, "segm": 100, "keypoints": 20}


def metric_names(task: Task) -> tuple[str, ...]:
    """The overall scores of a task, in order; COCO defines no small keypoint objects."""
    sizes = ("APm", "APl") if task == "keypoints" else ("APs", "APm", "APl")
    return ("AP", "AP50", "AP75", *sizes)


def coco_metrics(
    truth: dict[str, Any],
    results: Sequence[dict[str, Any]],
    task: Task,
    *,
    class_names: Sequence[str] = (),
    category_ids: Sequence[int] = (),
    image_ids: Sequence[int | str] | None = None,
    max_dets_per_image: int | None = None,
    kpt_oks_sigmas: Sequence[float] = (),
) -> dict[str, float]:
    """Average precision in percent; NaN where there is nothing to measure.

    Args:
        truth: COCO data set: ``images``, ``annotations``, ``categories``.
        results: COCO results (``category_id`` as in ``truth``); not changed.
        task: ``bbox``, ``segm`` or ``keypoints``.
        class_names: With more than one name, ``AP-<name>`` is added for each.
        category_ids: The id in ``truth`` of each of ``class_names``.
        image_ids: Evaluate only these images.
        max_dets_per_image: Count this many detections of highest score per image and category;
            100 when None. Keypoints keep COCO's limit of 20.
        kpt_oks_sigmas: One standard deviation per keypoint, relative to the object's scale;
            COCO's 17 when empty.

    Returns:
        The scores of :func:`metric_names` (without results: all NaN), then those per class.
    """
    if not results:
        logger.warning("no predictions to evaluate for %s: every score is NaN", task)
        return dict.fromkeys(metric_names(task), float("nan"))
    max_dets = DEFAULT_MAX_DETS[task]
    if max_dets_per_image is not None and task != "keypoints":
        max_dets = max_dets_per_image
    with _prints_to_log():
        evaluation = _evaluation(truth, results, task)
        evaluation.params.catIds = sorted(c["id"] for c in truth["categories"])
        evaluation.params.maxDets = [max_dets]
        if image_ids is not None:
            evaluation.params.imgIds = list(image_ids)
        if len(kpt_oks_sigmas):
            evaluation.params.kpt_oks_sigmas = np.asarray(kpt_oks_sigmas, dtype=float)
        evaluation.evaluate()
        evaluation.accumulate()
    return _scores(evaluation, task, class_names, category_ids)


def _evaluation(truth: dict[str, Any], results: Sequence[dict[str, Any]], task: Task) -> COCOeval:
    # Copies, because pycocotools writes into annotations and results.
    api = COCO()
    api.dataset = {**truth, "annotations": [dict(a) for a in truth["annotations"]]}
    api.createIndex()
    copies = [dict(result) for result in results]
    if task == "segm":
        for copy in copies:
            copy.pop("bbox", None)  # so that the mask decides what is small, medium or large
    return COCOeval(api, api.loadRes(copies), task)


def _scores(
    evaluation: COCOeval, task: Task, class_names: Sequence[str], category_ids: Sequence[int]
) -> dict[str, float]:
    params = evaluation.params
    # Axes: IoU threshold, recall, category, object size, limit of detections (one here).
    precision = evaluation.eval["precision"][..., 0]
    area = {label: k for k, label in enumerate(params.areaRngLbl)}
    overall = precision[..., area["all"]]
    at = {round(float(threshold), 2): k for k, threshold in enumerate(params.iouThrs)}
    every = {
        "AP": overall,
        "AP50": overall[at[0.5]],
        "AP75": overall[at[0.75]],
        **{f"AP{size[0]}": precision[..., k] for size, k in area.items() if size != "all"},
    }
    scores = {name: _mean_percent(every[name]) for name in metric_names(task)}
    if len(class_names) > 1:
        column = {category: k for k, category in enumerate(params.catIds)}
        for name, category in zip(class_names, category_ids, strict=True):
            scores[f"AP-{name}"] = _mean_percent(overall[:, :, column[category]])
    return scores


def _mean_percent(precision: np.ndarray) -> float:
    """Mean over what was measured; pycocotools marks the rest with -1."""
    measured = precision[precision > -1]
    return float(np.mean(measured)) * 100 if measured.size else float("nan")


@contextlib.contextmanager
def _prints_to_log() -> Iterator[None]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        yield
    for line in filter(None, map(str.strip, text.getvalue().splitlines())):
        logger.debug("pycocotools: %s", line)
