"""Predictions as COCO's result dictionaries (https://cocodataset.org/#format-results)."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from okulo_core.data import DatasetInfo
from okulo_core.structures import Instances

__all__ = ["coco_results"]


def coco_results(
    instances: Instances, info: DatasetInfo, **image: int | str
) -> list[dict[str, Any]]:
    """One dictionary per detection.

    Args:
        instances: Predictions on the CPU, in pixels of the original image.
        info: Its ``thing_dataset_ids`` turn labels into the data set's category ids; without
            them the label itself is written.
        image: What to say of the image in each, such as ``image_id=7``.

    Returns:
        ``category_id``, ``score``, ``bbox`` (left, top, width, height; rotated boxes as they
        are), and where predicted ``segmentation`` (run lengths) and ``keypoints`` (COCO's pixel
        indices: 0.5 less than ours).
    """
    ids = info.thing_dataset_ids
    boxes = instances.pred_boxes.tensor.double().numpy().copy()
    if boxes.shape[1] == 4:
        boxes[:, 2:] -= boxes[:, :2]
    results: list[dict[str, Any]] = [
        {**image, "category_id": ids[label] if ids else label, "bbox": box, "score": score}
        for label, box, score in zip(
            instances.pred_classes.tolist(),
            boxes.tolist(),
            instances.scores.tolist(),
            strict=True,
        )
    ]
    if instances.has("pred_masks"):
        for result, mask in zip(results, instances.pred_masks.numpy(), strict=True):
            result["segmentation"] = _run_lengths(mask)
    if instances.has("pred_keypoints"):
        keypoints = instances.pred_keypoints.double().numpy() - (0.5, 0.5, 0.0)
        for result, points in zip(results, keypoints, strict=True):
            result["keypoints"] = points.ravel().tolist()
    return results


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}
