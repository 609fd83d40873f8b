"""COCO files as data sets and predictions; the package itself reads no annotation file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.structures import Boxes, BoxMode, Instances


def _shifted(keypoints, by):
    points = np.array(keypoints, dtype=np.float64).reshape(-1, 3)
    points[:, :2] += by
    return points


def dataset_of(coco: dict) -> InMemoryDataset:
    categories = sorted(coco["categories"], key=lambda c: c["id"])
    label = {c["id"]: k for k, c in enumerate(categories)}
    names = categories[0].get("keypoints", ())
    skeleton = categories[0].get("skeleton", ())
    info = DatasetInfo(
        name="test",
        thing_classes=[c["name"] for c in categories],
        thing_dataset_ids=[c["id"] for c in categories],
        keypoint_names=names,
        keypoint_connection_rules=[
            (names[a - 1], names[b - 1], (255, 160, 0)) for a, b in skeleton
        ],
    )
    of_image = {image["id"]: [] for image in coco["images"]}
    for a in coco["annotations"]:
        keypoints = a.get("keypoints")
        of_image[a["image_id"]].append(
            Annotation(
                bbox=a["bbox"],
                bbox_mode=BoxMode.XYWH_ABS,
                category_id=label[a["category_id"]],
                segmentation=a.get("segmentation"),
                keypoints=None if keypoints is None else _shifted(keypoints, 0.5).ravel().tolist(),
                iscrowd=a.get("iscrowd", 0),
                area=a.get("area"),
                id=a.get("id"),
            )
        )
    return InMemoryDataset(
        info,
        [
            ImageRecord(
                file_name=image.get("file_name", str(image["id"])),
                image_id=image["id"],
                height=image["height"],
                width=image["width"],
                annotations=of_image[image["id"]],
            )
            for image in coco["images"]
        ],
    )


def predictions_of(results, dataset, *, keypoint_shift=0.5):
    """Pairs of sample and prediction for every image of the data set, from COCO results."""
    label = {category: k for k, category in enumerate(dataset.info.thing_dataset_ids)}
    pairs = []
    for k in range(len(dataset)):
        record = dataset[k]
        rows = [r for r in results if r["image_id"] == record.image_id]
        boxes = torch.tensor(
            [r.get("bbox") or _extent(r) for r in rows], dtype=torch.float64
        ).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = Instances((record.height, record.width))
        instances.pred_boxes = Boxes(boxes)
        instances.scores = torch.tensor([r["score"] for r in rows], dtype=torch.float64)
        instances.pred_classes = torch.tensor([label[r["category_id"]] for r in rows]).long()
        if "segmentation" in results[0]:
            masks = [rle.decode([_as_rle(r["segmentation"], record)])[..., 0] for r in rows]
            shape = (len(rows), record.height, record.width)
            instances.pred_masks = torch.tensor(np.array(masks), dtype=torch.bool).reshape(shape)
        if "keypoints" in results[0]:
            points = [_shifted(r["keypoints"], keypoint_shift) for r in rows]
            count = len(results[0]["keypoints"]) // 3
            instances.pred_keypoints = torch.tensor(np.array(points)).reshape(-1, count, 3)
        pairs.append(({"image_id": record.image_id}, {"instances": instances}))
    return pairs


def _extent(result):
    """The box that pycocotools gives to results without one: around all keypoints."""
    points = np.reshape(result.get("keypoints", (0, 0, 2)), (-1, 3))[:, :2]
    return [*points.min(0), *np.ptp(points, axis=0)]


def _as_rle(segmentation, record):
    if isinstance(segmentation, list):
        return rle.merge(rle.frPyObjects(segmentation, record.height, record.width))
    return segmentation


@pytest.fixture
def load_dataset():
    """A function: COCO annotation file or dictionary -> data set."""
    return lambda coco: dataset_of(coco if isinstance(coco, dict) else read(coco))


@pytest.fixture
def load_predictions():
    """A function: COCO result file or list, data set -> [(sample, prediction)]."""
    return lambda results, dataset, **kwargs: predictions_of(
        results if isinstance(results, list) else read(results), dataset, **kwargs
    )


def read(path: Path):
    return json.loads(Path(path).read_text())
