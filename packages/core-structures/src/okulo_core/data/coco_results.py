"""Predictions in COCO's result form: one plain dictionary per instance."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from pycocotools import mask as rle
from torch import Tensor

from okulo_core.data.coco_format import category_ids
from okulo_core.data.info import DatasetInfo
from okulo_core.structures import Boxes, Instances, RotatedBoxes

__all__ = ["instances_to_coco_json", "with_category_ids"]


def instances_to_coco_json(instances: Instances, image_id: int | str) -> list[dict[str, Any]]:
    """Turn one image's predictions into COCO result dictionaries.

    Args:
        instances: N predictions with ``pred_boxes`` (:class:`Boxes` or :class:`RotatedBoxes`,
            pixels of the original image), ``scores``, ``pred_classes`` and optionally
            ``pred_masks`` (N, H, W) bool and ``pred_keypoints`` (N, K, 3) x, y, score. It is not
            changed.
        image_id: Copied into each result.

    Returns:
        N dictionaries of JSON types: ``bbox`` as XYWH (rotated boxes as they are, XYWHA),
        ``category_id`` still the contiguous label (see :func:`with_category_ids`),
        ``segmentation`` as compressed run lengths (text), ``keypoints`` flat with x and y less
        0.5, since COCO counts from the centre of the top-left pixel. An empty list for N = 0.
    """
    columns = {
        "category_id": instances.pred_classes.tolist(),
        "bbox": _xywh(instances.pred_boxes),
        "score": instances.scores.tolist(),
    }
    if instances.has("pred_masks"):
        columns["segmentation"] = _run_lengths(instances.pred_masks)
    if instances.has("pred_keypoints"):
        columns["keypoints"] = _flat_keypoints(instances.pred_keypoints)
    return [
        {"image_id": image_id, **dict(zip(columns, row, strict=True))}
        for row in zip(*columns.values(), strict=True)
    ]


def with_category_ids(results: Iterable[dict[str, Any]], info: DatasetInfo) -> list[dict[str, Any]]:
    """Copies of results in which the data set's category ids stand for the contiguous labels.

    Args:
        results: As :func:`instances_to_coco_json` makes them.
        info: Of the data set. If it names no classes, labels stay as they are.

    Raises:
        ValueError: A label is not one of the data set's classes.
    """
    ids = category_ids(info)
    if not ids:
        return [dict(result) for result in results]
    converted = []
    for result in results:
        label = result["category_id"]
        if not 0 <= label < len(ids):
            raise ValueError(
                f"a prediction for image {result['image_id']} has label {label}, expected "
                f"0..{len(ids) - 1}: {info.name!r} has {len(ids)} classes; "
                "set the model's num_classes to it"
            )
        converted.append({**result, "category_id": ids[label]})
    return converted


def _xywh(boxes: Boxes | RotatedBoxes) -> list[list[float]]:
    xyxy = boxes.tensor.detach().cpu()
    if isinstance(boxes, RotatedBoxes):
        return xyxy.tolist()
    # Subtracted in float32 as COCO files are written by others, not after widening.
    return [
        [*corner, *size]
        for corner, size in zip(
            xyxy[:, :2].tolist(), (xyxy[:, 2:] - xyxy[:, :2]).tolist(), strict=True
        )
    ]


def _run_lengths(masks: Tensor) -> list[dict[str, Any]]:
    """COCO run lengths of (N, H, W) masks; the counts as text, so that JSON can hold them."""
    encoded = []
    for mask in masks.detach().cpu().numpy():
        # Encoded one by one: the column-major copy that pycocotools wants stays one mask large.
        run = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
        encoded.append({"size": list(run["size"]), "counts": run["counts"].decode("ascii")})
    return encoded


def _flat_keypoints(keypoints: Tensor) -> list[list[float]]:
    shifted = keypoints.detach().cpu().clone()
    shifted[..., :2] -= 0.5
    return shifted.flatten(start_dim=1).tolist()
