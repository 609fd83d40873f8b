"""COCO evaluation of boxes, masks and keypoints, merged over processes.

The truth comes from the records of a data set, in pixels of the original images.
"""

import itertools
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.validators import deep_iterable, gt, optional

from okulo_core.data import Dataset
from okulo_core.data.coco_format import records_to_coco
from okulo_core.data.coco_results import instances_to_coco_json, with_category_ids
from okulo_core.distributed import gather, is_main_process
from okulo_core.io import atomic_write
from okulo_core.protocols import Prediction, Sample
from okulo_core.structures import Boxes, RotatedBoxes
from okulo_evaluation.coco_metrics import Task, coco_metrics, metric_names

__all__ = ["CocoEvaluator", "CocoEvaluatorConfig"]

logger = logging.getLogger(__name__)

TASKS: tuple[Task, ...] = ("bbox", "segm", "keypoints")
# What each task needs: the field of the predictions, and of the truth.
FIELDS = {"bbox": "pred_boxes", "segm": "pred_masks", "keypoints": "pred_keypoints"}
TRUTH = {
    "bbox": "boxes that are not rotated",
    "segm": "masks of all objects",
    "keypoints": "keypoints",
}


@frozen
class _ImageResults:
    """What is kept of one image: compact enough to send between processes."""

    image_id: int | str
    fields: frozenset[str]  # of the instances, also when there are none
    results: list[dict[str, Any]]


class CocoEvaluator:
    """Average precision of COCO's bbox, segm and keypoints tasks.

    Args:
        dataset: The truth. Without a single annotation nothing is measured; predictions are
            still written.
        output_dir: Where ``coco_instances_results.json`` goes; None writes nothing.
        tasks: What to measure; None measures boxes, and masks and keypoints where both
            predictions and truth have them.
        max_dets_per_image: Detections that count per image and category, for boxes and masks; 100
            when None.
        kpt_oks_sigmas: One per keypoint; COCO's 17 when empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        output_dir: Path | None = None,
        tasks: Sequence[Task] | None = None,
        max_dets_per_image: int | None = None,
        kpt_oks_sigmas: Sequence[float] = (),
    ) -> None:
        unknown = sorted(set(tasks or ()) - set(TASKS))
        if unknown:
            raise ValueError(f"tasks must be among {TASKS}, got {unknown}")
        self._dataset = dataset
        self._output_dir = output_dir
        self._tasks = tasks
        self._max_dets_per_image = max_dets_per_image
        self._kpt_oks_sigmas = kpt_oks_sigmas
        self._images: list[_ImageResults] = []

    def reset(self) -> None:
        """Forget everything processed."""
        self._images = []

    def process(self, inputs: Sequence[Sample], outputs: Sequence[Prediction]) -> None:
        """Keep the instances of each output, in compact form (masks as run lengths)."""
        for sample, prediction in zip(inputs, outputs, strict=True):
            instances, image_id = prediction["instances"], sample["image_id"]
            boxes = instances.pred_boxes
            if not isinstance(boxes, Boxes) or isinstance(boxes, RotatedBoxes):
                raise TypeError(
                    f"COCO evaluation needs pred_boxes as Boxes (XYXY), got {type(boxes).__name__}"
                )
            fields = frozenset(instances.get_fields())
            results = instances_to_coco_json(instances, image_id)
            self._images.append(_ImageResults(image_id, fields, results))

    def evaluate(self, img_ids: Sequence[int | str] | None = None) -> dict[str, dict[str, float]]:
        """Merge all processes and measure; every process must call it.

        Args:
            img_ids: Measure on these images only; None takes the whole data set, including
                images that no process saw.

        Returns:
            On the main process ``{task: {metric: percent}}`` with AP, AP50, AP75, APs, APm, APl
            and, for more than one class, AP-<class>; for keypoints no APs. Elsewhere, and without
            processed images or truth, ``{}``.

        Raises:
            ValueError: A prediction's label or image is unknown to the data set, a task was asked
                for that predictions or truth cannot give, or the numbers of keypoints differ.
        """
        shares = gather(self._images)
        if not is_main_process():
            return {}
        images = _each_once(itertools.chain.from_iterable(shares))
        if not images:
            logger.warning("nothing was processed, so there is nothing to evaluate")
            return {}
        truth = records_to_coco(self._dataset)
        results = self._with_dataset_ids(images, truth)
        self._write(results)
        if not truth["annotations"]:
            logger.info("%s has no annotations: nothing is measured", self._dataset.info.name)
            return {}
        tasks = self._chosen_tasks(images, truth)
        return {task: self._measure(task, truth, results, img_ids) for task in tasks}

    def _with_dataset_ids(
        self, images: Sequence[_ImageResults], truth: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """All results in the data set's order, with the category ids of its own file."""
        position = {image["id"]: k for k, image in enumerate(truth["images"])}
        unknown = [image.image_id for image in images if image.image_id not in position]
        if unknown:
            raise ValueError(
                f"predictions are for images that {self._dataset.info.name!r} does not have: "
                f"{unknown[:5]}; evaluate on the data set that the loader reads"
            )
        ordered = sorted(images, key=lambda image: position[image.image_id])
        results = itertools.chain.from_iterable(image.results for image in ordered)
        return with_category_ids(results, self._dataset.info)

    def _write(self, results: Sequence[dict[str, Any]]) -> None:
        if self._output_dir is not None:
            path = Path(self._output_dir) / "coco_instances_results.json"
            with atomic_write(path, "w") as file:
                json.dump(results, file)
            logger.info("%d results are in %s", len(results), path)

    def _chosen_tasks(
        self, images: Sequence[_ImageResults], truth: dict[str, Any]
    ) -> tuple[Task, ...]:
        predicted = frozenset.union(*(image.fields for image in images))
        known = {task: _truth_can_score(task, truth) for task in TASKS}
        if self._tasks is None:
            return tuple(task for task in TASKS if FIELDS[task] in predicted and known[task])
        for task in self._tasks:
            if FIELDS[task] not in predicted:
                raise ValueError(
                    f"task {task!r} needs predictions with {FIELDS[task]!r}, got the fields "
                    f"{sorted(predicted)}; leave it out of the evaluator's tasks"
                )
            if not known[task]:
                raise ValueError(
                    f"task {task!r} needs {TRUTH[task]}, which {self._dataset.info.name!r} lacks; "
                    "leave it out of the evaluator's tasks"
                )
        return tuple(self._tasks)

    def _measure(
        self,
        task: Task,
        truth: dict[str, Any],
        results: Sequence[dict[str, Any]],
        img_ids: Sequence[int | str] | None,
    ) -> dict[str, float]:
        if task == "keypoints":
            truth = _with_keypoints_everywhere(truth)
            _check_keypoint_counts(truth, results, self._kpt_oks_sigmas)
        scores = coco_metrics(
            truth,
            results,
            task,
            class_names=[category["name"] for category in truth["categories"]],
            category_ids=[category["id"] for category in truth["categories"]],
            image_ids=img_ids,
            max_dets_per_image=self._max_dets_per_image,
            kpt_oks_sigmas=self._kpt_oks_sigmas,
        )
        shown = ", ".join(f"{name} {scores[name]:.2f}" for name in metric_names(task))
        logger.info("%s on %s: %s", task, self._dataset.info.name, shown)
        return scores


@frozen(kw_only=True)
class CocoEvaluatorConfig:
    """Settings of :class:`CocoEvaluator`."""

    tasks: tuple[Task, ...] | None = None
    max_dets_per_image: int | None = field(default=None, validator=optional(gt(0)))
    kpt_oks_sigmas: tuple[float, ...] = field(default=(), validator=deep_iterable(gt(0.0)))

    def build(self, dataset: Dataset, output_dir: Path | None = None) -> CocoEvaluator:
        return CocoEvaluator(
            dataset,
            output_dir=output_dir,
            tasks=self.tasks,
            max_dets_per_image=self.max_dets_per_image,
            kpt_oks_sigmas=self.kpt_oks_sigmas,
        )


def _each_once(images: Iterable[_ImageResults]) -> list[_ImageResults]:
    """One entry per image: samplers repeat images to give every process equally many."""
    first: dict[int | str, _ImageResults] = {}
    for image in images:
        first.setdefault(image.image_id, image)
    return list(first.values())


def _truth_can_score(task: Task, truth: dict[str, Any]) -> bool:
    """Masks are needed of all objects, keypoints of at least one; boxes must not be rotated."""
    annotations = truth["annotations"]
    if task == "bbox":
        return all(len(annotation["bbox"]) == 4 for annotation in annotations)
    if task == "segm":
        return all(annotation.get("segmentation") for annotation in annotations)
    return any(annotation.get("keypoints") for annotation in annotations)


def _with_keypoints_everywhere(truth: dict[str, Any]) -> dict[str, Any]:
    """A copy in which objects without keypoints have unlabelled ones, which COCO ignores."""
    length = max(len(a.get("keypoints") or ()) for a in truth["annotations"])
    unlabelled = {"keypoints": [0.0] * length, "num_keypoints": 0}
    annotations = [a if a.get("keypoints") else {**a, **unlabelled} for a in truth["annotations"]]
    return {**truth, "annotations": annotations}


def _check_keypoint_counts(
    truth: dict[str, Any], results: Sequence[dict[str, Any]], sigmas: Sequence[float]
) -> None:
    expected = {len(a["keypoints"]) // 3 for a in truth["annotations"]}
    predicted = {len(r["keypoints"]) // 3 for r in results}
    given = len(sigmas) or 17
    if len(expected | predicted | {given}) > 1:
        raise ValueError(
            f"keypoints per object must agree: truth has {sorted(expected)}, predictions have "
            f"{sorted(predicted)}, kpt_oks_sigmas {given}"
            f"{'' if len(sigmas) else ' (the default, COCO person)'}; set kpt_oks_sigmas to one "
            "value per keypoint"
        )
