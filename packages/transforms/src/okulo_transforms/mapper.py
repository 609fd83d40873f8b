"""From a data set's record to a model's sample: decode, augment, gather."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from attrs import frozen

from okulo_core.config import parts
from okulo_core.data import DatasetInfo, ImageRecord
from okulo_core.errors import DataError
from okulo_core.protocols import Sample
from okulo_core.structures import (
    BitMasks,
    Boxes,
    BoxMode,
    Instances,
    Keypoints,
    PolygonMasks,
)
from okulo_transforms.annotations import (
    annotations_to_instances,
    filter_empty_instances,
    transform_instance_annotations,
)
from okulo_transforms.augmentation import AugInput, Augmentation, AugmentationList
from okulo_transforms.image import read_image, read_label_map
from okulo_transforms.transform import Array, Transform, TransformList

__all__ = ["DatasetMapper", "DatasetMapperConfig", "SizeMismatchError", "check_image_size"]


class SizeMismatchError(DataError, ValueError):
    """An image does not have the size that its record states."""


def check_image_size(record: ImageRecord, image: Array) -> None:
    """Raise :class:`SizeMismatchError` when the (H, W, C) image differs from the record's size."""
    height, width = image.shape[:2]
    expected = (record.height or height, record.width or width)
    if expected != (height, width):
        raise SizeMismatchError(
            f"image {record.file_name} is {height} x {width} (height x width) after turning it "
            f"upright, but its record says {expected[0]} x {expected[1]}; correct the record, or "
            "restore the image it was made for"
        )


class DatasetMapper:
    """Makes the samples of detection, instance segmentation and keypoints.

    Training samples carry ``instances`` without crowd regions and without instances that the
    augmentations removed; test samples carry only the image and what names it. ``sem_seg`` is
    present when the record has it. ``height`` and ``width`` are those of the original image.
    """

    def __init__(
        self,
        *,
        training: bool,
        augmentations: Iterable[Augmentation | Transform] = (),
        image_format: str = "BGR",
        use_instance_mask: bool = False,
        instance_mask_format: Literal["polygon", "bitmask"] = "polygon",
        use_keypoint: bool = False,
        keypoint_hflip_indices: Sequence[int] | None = None,
        recompute_boxes: bool = False,
    ) -> None:
        """
        Args:
            training: Whether to give instances.
            augmentations: Applied in order to image, boxes and semantic labels.
            image_format: As in :func:`okulo_transforms.image.read_image`.
            use_instance_mask: Whether to give ``gt_masks``.
            instance_mask_format: Kind of ``gt_masks``; ``"bitmask"`` is needed for RLE.
            use_keypoint: Whether to give ``gt_keypoints``.
            keypoint_hflip_indices: Order of the keypoints in a mirrored image.
            recompute_boxes: Replace boxes by the tight boxes of the transformed masks; after a crop
                these are smaller than the cropped boxes.
        """
        if recompute_boxes and not use_instance_mask:
            raise ValueError("recompute_boxes=True needs use_instance_mask=True, got False")
        self.training = training
        self.augmentations = AugmentationList(augmentations)
        self.image_format = image_format
        self.use_instance_mask = use_instance_mask
        self.instance_mask_format = instance_mask_format
        self.use_keypoint = use_keypoint
        self.keypoint_hflip_indices = keypoint_hflip_indices
        self.recompute_boxes = recompute_boxes

    def __call__(self, record: ImageRecord, rng: np.random.Generator) -> Sample | None:
        """Read and augment the image of a record.

        Raises:
            DataError: Unreadable image, wrong size, or broken annotation; the message names the
                file.
        """
        image = read_image(record.file_name, self.image_format)
        check_image_size(record, image)
        height, width = image.shape[:2]
        annotations = self._annotations(record) if self.training else []
        with _about(record):
            boxes = _xyxy(annotations)
        inputs = AugInput(image, boxes=boxes, sem_seg=_read_sem_seg(record, image), rng=rng)
        transforms = self.augmentations(inputs)

        sample = Sample(
            image=torch.from_numpy(np.array(inputs.image.transpose(2, 0, 1), order="C")),
            height=height,
            width=width,
            image_id=record.image_id,
            file_name=record.file_name,
        )
        if inputs.sem_seg is not None:
            sample["sem_seg"] = torch.from_numpy(np.ascontiguousarray(inputs.sem_seg))
        if self.training:
            with _about(record):
                sample["instances"] = self._instances(
                    annotations, transforms, inputs.image.shape[:2]
                )
        return sample

    def _annotations(self, record: ImageRecord) -> list[dict[str, Any]]:
        """Standard annotations of the objects, with masks and keypoints where in use."""
        found = [a.to_dict() for a in record.annotations if not a.iscrowd]
        for key, used in (
            ("segmentation", self.use_instance_mask),
            ("keypoints", self.use_keypoint),
        ):
            if used:
                _check_all_have(key, found, record)
            else:
                found = [{k: v for k, v in a.items() if k != key} for a in found]
        return found

    def _instances(
        self, annotations: list[dict[str, Any]], transforms: TransformList, size: tuple[int, int]
    ) -> Instances:
        transformed = [
            transform_instance_annotations(
                annotation,
                transforms,
                size,
                keypoint_hflip_indices=self.keypoint_hflip_indices,
            )
            for annotation in annotations
        ]
        if not transformed:
            return self._no_instances(size)
        instances = annotations_to_instances(transformed, size, self.instance_mask_format)
        if self.recompute_boxes:
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return filter_empty_instances(instances)

    def _no_instances(self, size: tuple[int, int]) -> Instances:
        """Zero instances with the fields that other images have, so that batches can be joined."""
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.zeros(0, 4))
        instances.gt_classes = torch.zeros(0, dtype=torch.int64)
        if self.use_instance_mask:
            bitmask = self.instance_mask_format == "bitmask"
            instances.gt_masks = BitMasks(torch.zeros(0, *size)) if bitmask else PolygonMasks([])
        if self.use_keypoint:
            count = len(self.keypoint_hflip_indices or ())
            instances.gt_keypoints = Keypoints(torch.zeros(0, count, 3))
        return instances


@frozen(kw_only=True)
class DatasetMapperConfig:
    """Settings of :class:`DatasetMapper`; what depends on the data set comes from its info."""

    augmentations: tuple[Any, ...] = parts("augmentation")
    image_format: str = "BGR"
    use_instance_mask: bool = False
    instance_mask_format: Literal["polygon", "bitmask"] = "polygon"
    use_keypoint: bool = False
    recompute_boxes: bool = False

    def build(self, info: DatasetInfo, training: bool) -> DatasetMapper:
        return DatasetMapper(
            training=training,
            augmentations=[augmentation.build() for augmentation in self.augmentations],
            image_format=self.image_format,
            use_instance_mask=self.use_instance_mask,
            instance_mask_format=self.instance_mask_format,
            use_keypoint=self.use_keypoint,
            keypoint_hflip_indices=info.keypoint_flip_indices if self.use_keypoint else None,
            recompute_boxes=self.recompute_boxes,
        )


@contextmanager
def _about(record: ImageRecord) -> Iterator[None]:
    try:
        yield
    except (DataError, ValueError) as error:
        raise DataError(f"annotations of image {record.file_name}: {error}") from error


def _check_all_have(key: str, annotations: Sequence[dict[str, Any]], record: ImageRecord) -> None:
    missing = [i for i, a in enumerate(annotations) if key not in a]
    if missing:
        option = "use_instance_mask" if key == "segmentation" else "use_keypoint"
        raise DataError(
            f"annotations of image {record.file_name}: {key!r} is missing at {missing}, but the "
            f"mapper has {option}=True; set it to False or complete the data set"
        )


def _xyxy(annotations: Sequence[dict[str, Any]]) -> Array | None:
    """Boxes for augmentations to look at; none when they are rotated."""
    if any(a["bbox_mode"] == BoxMode.XYWHA_ABS for a in annotations):
        return None
    boxes = [
        BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations
    ]
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _read_sem_seg(record: ImageRecord, image: Array) -> Array | None:
    if record.sem_seg_file_name is None:
        return None
    labels = read_label_map(record.sem_seg_file_name)
    if labels.shape != image.shape[:2]:
        raise SizeMismatchError(
            f"label map {record.sem_seg_file_name} is {labels.shape[0]} x {labels.shape[1]} "
            f"(height x width), but its image {record.file_name} {image.shape[0]} x "
            f"{image.shape[1]}; they must be equal"
        )
    return labels
