"""Records as a COCO annotation file, for evaluation with COCO's tools and for export."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from okulo_core.data.dataset import Dataset
from okulo_core.data.info import DatasetInfo
from okulo_core.data.records import Annotation
from okulo_core.structures import BoxMode, polygon_area

__all__ = ["category_ids", "records_to_coco"]


def records_to_coco(dataset: Dataset) -> dict[str, Any]:
    """Convert to COCO's annotation format (https://cocodataset.org/#format-data).

    Labels become the category ids of the source file where the data set knows them, else 1..K.
    Boxes become left, top, width, height, or centre, size, angle if they are rotated, rounded to
    three decimals; keypoints become pixel indices (0.5 less) again. ``area`` is the record's, else
    that of the mask, else that of the box. Annotation ids count from 1, since COCO's evaluation
    takes id 0 for "no match". The records themselves stay as they are.

    Returns:
        ``images``, ``annotations`` and ``categories``, of plain JSON types.
    """
    info = dataset.info
    ids = category_ids(info)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(len(dataset)):
        record = dataset[index]
        images.append(
            {
                "id": record.image_id,
                "file_name": record.file_name,
                "height": record.height,
                "width": record.width,
            }
        )
        for annotation in record.annotations:
            head = {
                "id": len(annotations) + 1,
                "image_id": record.image_id,
                "category_id": ids[annotation.category_id],
            }
            annotations.append(head | _coco_annotation(annotation))
    return {
        "info": {"description": info.name},
        "images": images,
        "annotations": annotations,
        "categories": _categories(info),
    }


def category_ids(info: DatasetInfo) -> tuple[int, ...]:
    """Id in COCO files of each label: the source file's own, or else counted from 1."""
    return info.thing_dataset_ids or tuple(range(1, len(info.thing_classes) + 1))


def _categories(info: DatasetInfo) -> list[dict[str, Any]]:
    keypoints: dict[str, Any] = {}
    if info.keypoint_names:
        number = {name: index for index, name in enumerate(info.keypoint_names, start=1)}
        lines = [[number[a], number[b]] for a, b, _ in info.keypoint_connection_rules]
        keypoints = {"keypoints": list(info.keypoint_names), "skeleton": lines}
    return [
        {"id": category_id, "name": name} | keypoints
        for category_id, name in zip(category_ids(info), info.thing_classes, strict=True)
    ]


def _coco_annotation(annotation: Annotation) -> dict[str, Any]:
    rotated = annotation.bbox_mode == BoxMode.XYWHA_ABS
    mode = BoxMode.XYWHA_ABS if rotated else BoxMode.XYWH_ABS
    bbox = BoxMode.convert(list(annotation.bbox), annotation.bbox_mode, mode)
    coco: dict[str, Any] = {
        "bbox": [round(float(value), 3) for value in bbox],
        "area": _area(annotation, bbox[2] * bbox[3]),
        "iscrowd": annotation.iscrowd,
    }
    if isinstance(annotation.segmentation, dict):
        coco["segmentation"] = _text_rle(annotation.segmentation)
    elif annotation.segmentation is not None:
        coco["segmentation"] = [list(polygon) for polygon in annotation.segmentation]
    if annotation.keypoints is not None:
        points = np.array(annotation.keypoints, dtype=np.float64).reshape(-1, 3)
        coco["num_keypoints"] = int((points[:, 2] > 0).sum())
        coco["keypoints"] = (points - [0.5, 0.5, 0]).ravel().tolist()
    return coco


def _area(annotation: Annotation, box_area: float) -> float:
    if annotation.area is not None:
        return float(annotation.area)
    if isinstance(annotation.segmentation, dict):
        return float(coco_mask.area(annotation.segmentation))
    if annotation.segmentation:
        return float(sum(polygon_area(p[0::2], p[1::2]) for p in annotation.segmentation))
    return float(box_area)


def _text_rle(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    return {
        "size": list(rle["size"]),
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }
