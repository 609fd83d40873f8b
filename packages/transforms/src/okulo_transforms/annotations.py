"""Annotations of one image: transformed with it, and gathered into :class:`Instances`.

Annotations are mappings of the standard form: ``bbox``, ``bbox_mode``, ``category_id`` and
optionally ``segmentation`` (list of flat polygons, or an RLE dict), ``keypoints`` (flat x, y,
visibility) and ``iscrowd``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from okulo_core.errors import DataError
from okulo_core.structures import (
    BitMasks,
    Boxes,
    BoxMode,
    Instances,
    Keypoints,
    PolygonMasks,
    RotatedBoxes,
    polygons_to_bitmask,
)
from okulo_transforms.flip import HFlipTransform
from okulo_transforms.transform import Array, Transform, TransformList

__all__ = [
    "annotations_to_instances",
    "filter_empty_instances",
    "transform_instance_annotations",
    "transform_keypoint_annotations",
]

Size = tuple[int, int]
Transforms = Transform | Sequence[Transform]


def transform_instance_annotations(
    annotation: Mapping[str, Any],
    transforms: Transforms,
    image_size: Size,
    *,
    keypoint_hflip_indices: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Transform one annotation together with its image.

    Args:
        annotation: Standard annotation; not changed.
        transforms: What was applied to the image.
        image_size: Height and width of the image after the transforms, pixels.
        keypoint_hflip_indices: Order of the keypoints in a mirrored image; needed with keypoints
            and horizontal flips.

    Returns:
        A new annotation. ``bbox`` is (4,) XYXY clipped to the image, or (5,) when it came as
        XYWHA; ``segmentation`` a list of flat polygons, or an (H, W) bool array for RLE;
        ``keypoints`` (K, 3).

    Raises:
        DataError: NaN or inverted box, polygon with fewer than 3 points, mask of another size.
    """
    transform = _as_one(transforms)
    result = dict(annotation)
    result["bbox"], result["bbox_mode"] = _transform_box(annotation, transform, image_size)
    if "segmentation" in annotation:
        result["segmentation"] = _transform_segmentation(
            annotation["segmentation"], transform, image_size
        )
    if "keypoints" in annotation:
        result["keypoints"] = transform_keypoint_annotations(
            annotation["keypoints"], transform, image_size, keypoint_hflip_indices
        )
    return result


def transform_keypoint_annotations(
    keypoints: Sequence[float],
    transforms: Transforms,
    image_size: Size,
    keypoint_hflip_indices: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Transform flat keypoints (x, y, visibility) of one instance.

    Points that leave the image become invisible, and invisible points are all zero. After an odd
    number of horizontal flips the points change places, so that "left" stays left.

    Returns:
        (K, 3) float64.
    """
    transform = _as_one(transforms)
    points = np.asarray(keypoints, dtype=np.float64).reshape(-1, 3)
    xy, visibility = transform.apply_coords(points[:, :2]), points[:, 2].copy()
    height, width = image_size
    inside = ((xy >= 0) & (xy <= (width, height))).all(axis=1)
    visibility[~inside] = 0
    points = np.concatenate([xy, visibility[:, None]], axis=1)
    if sum(isinstance(member, HFlipTransform) for member in transform) % 2 == 1:
        points = points[_flip_order(keypoint_hflip_indices, len(points))]
    points[points[:, 2] == 0] = 0
    return points


def annotations_to_instances(
    annotations: Sequence[Mapping[str, Any]],
    image_size: Size,
    mask_format: Literal["polygon", "bitmask"] = "polygon",
) -> Instances:
    """Gather transformed annotations of one image.

    Args:
        annotations: Results of :func:`transform_instance_annotations`. Masks and keypoints are
            gathered when the first annotation has them, and then all must.
        image_size: Height and width, pixels.
        mask_format: ``"polygon"`` keeps polygons; ``"bitmask"`` rasterises them.

    Returns:
        Instances with ``gt_boxes`` (N), ``gt_classes`` (N,) int64, and ``gt_masks``,
        ``gt_keypoints`` where present. Boxes of mode XYWHA_ABS become RotatedBoxes, of which nearly
        horizontal ones are clipped to the image.
    """
    instances = Instances(image_size)
    instances.gt_boxes = _boxes(annotations, image_size)
    instances.gt_classes = torch.tensor(
        [int(a["category_id"]) for a in annotations], dtype=torch.int64
    )
    if annotations and "segmentation" in annotations[0]:
        instances.gt_masks = _masks(_all(annotations, "segmentation"), image_size, mask_format)
    if annotations and "keypoints" in annotations[0]:
        points = [np.asarray(k).reshape(-1, 3) for k in _all(annotations, "keypoints")]
        instances.gt_keypoints = Keypoints(np.stack(points).astype(np.float32))
    return instances


def filter_empty_instances(
    instances: Instances, *, by_box: bool = True, by_mask: bool = True, box_threshold: float = 1e-5
) -> Instances:
    """Keep instances whose box has both sides above the threshold (pixels) and whose mask, if there
    are masks, has a pixel."""
    if not (by_box or by_mask):
        raise ValueError("filter_empty_instances needs by_box or by_mask, got neither")
    keep = torch.ones(len(instances), dtype=torch.bool)
    if by_box:
        keep &= instances.gt_boxes.nonempty(threshold=box_threshold)
    if by_mask and instances.has("gt_masks"):
        keep &= instances.gt_masks.nonempty()
    return instances[keep]


def _as_one(transforms: Transforms) -> TransformList:
    return TransformList([transforms] if isinstance(transforms, Transform) else transforms)


def _transform_box(
    annotation: Mapping[str, Any], transform: TransformList, image_size: Size
) -> tuple[Array, BoxMode]:
    mode = BoxMode(annotation["bbox_mode"])
    box = np.asarray(annotation["bbox"], dtype=np.float64)
    if not np.isfinite(box).all():
        raise DataError(
            f"box {box.tolist()} has a number that is not finite; repair the annotation"
        )
    if mode == BoxMode.XYWHA_ABS:
        if (box[2:4] < 0).any():
            raise _inverted(box, mode)
        return transform.apply_rotated_box(box[None])[0], mode
    xyxy = np.asarray(BoxMode.convert(box.tolist(), mode, BoxMode.XYXY_ABS), dtype=np.float64)
    if (xyxy[2:] < xyxy[:2]).any():
        raise _inverted(box, mode)
    height, width = image_size
    moved = transform.apply_box(xyxy[None])[0]
    return np.clip(moved, 0, (width, height, width, height)), BoxMode.XYXY_ABS


def _inverted(box: Array, mode: BoxMode) -> DataError:
    return DataError(
        f"box {box.tolist()} ({mode.name}) has a negative width or height; "
        "swap its corners or check the box mode of the data set"
    )


def _transform_segmentation(
    segmentation: Any, transform: TransformList, image_size: Size
) -> list[Array] | NDArray[np.bool_]:
    if isinstance(segmentation, Mapping):
        return _transform_rle(segmentation, transform, image_size)
    if not isinstance(segmentation, (list, tuple)):
        raise DataError(
            "segmentation must be a list of polygons or an RLE dict with 'size' and 'counts', "
            f"got {type(segmentation).__name__}"
        )
    polygons = [_polygon(flat) for flat in segmentation]
    return [polygon.reshape(-1) for polygon in transform.apply_polygons(polygons)]


def _polygon(flat: Any) -> Array:
    polygon = np.asarray(flat, dtype=np.float64).reshape(-1)
    if len(polygon) < 6 or len(polygon) % 2:
        raise DataError(
            "a mask polygon needs at least 3 points (6 numbers, an even count), "
            f"got {len(polygon)} numbers; drop the polygon or repair the annotation"
        )
    if not np.isfinite(polygon).all():
        raise DataError("a mask polygon has a number that is not finite; repair the annotation")
    return polygon.reshape(-1, 2)


def _transform_rle(
    rle: Mapping[str, Any], transform: TransformList, image_size: Size
) -> NDArray[np.bool_]:
    try:
        mask = coco_mask.decode(dict(rle)).astype(bool)
        mask = transform.apply_segmentation(mask)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"RLE mask of size {rle.get('size')} does not fit: {error}") from error
    if mask.shape != tuple(image_size):
        raise DataError(
            f"RLE mask has size {mask.shape} after the transforms, but its image "
            f"{tuple(image_size)}; the mask must have the size of the image"
        )
    return mask


def _flip_order(indices: Sequence[int] | None, count: int) -> list[int]:
    if indices is None:
        raise ValueError(
            "mirroring keypoints needs keypoint_hflip_indices; give the data set's info "
            "keypoint_names and keypoint_flip_map, or remove the horizontal flip"
        )
    if len(indices) != count:
        raise ValueError(
            f"keypoint_hflip_indices has {len(indices)} entries, the instance {count} keypoints"
        )
    return list(indices)


def _boxes(annotations: Sequence[Mapping[str, Any]], image_size: Size) -> Boxes | RotatedBoxes:
    rotated = [a["bbox_mode"] == BoxMode.XYWHA_ABS for a in annotations]
    if any(rotated) and not all(rotated):
        raise DataError("rotated and axis-aligned boxes in one image; give all boxes one mode")
    values = np.array([_in_final_mode(a) for a in annotations], dtype=np.float32)
    if not any(rotated):
        return Boxes(torch.from_numpy(values.reshape(-1, 4)))
    boxes = RotatedBoxes(torch.from_numpy(values.reshape(-1, 5)))
    boxes.clip(image_size)
    return boxes


def _in_final_mode(annotation: Mapping[str, Any]) -> Sequence[float]:
    box, mode = [float(v) for v in annotation["bbox"]], BoxMode(annotation["bbox_mode"])
    return box if mode == BoxMode.XYWHA_ABS else BoxMode.convert(box, mode, BoxMode.XYXY_ABS)


def _all(annotations: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    without = [i for i, a in enumerate(annotations) if key not in a]
    if without:
        raise DataError(
            f"either all annotations of an image have {key!r} or none; missing at {without}"
        )
    return [a[key] for a in annotations]


def _masks(
    segmentations: Sequence[Any], image_size: Size, mask_format: str
) -> PolygonMasks | BitMasks:
    if mask_format == "bitmask":
        masks = [_bitmap(s, image_size) for s in segmentations]
        return BitMasks(torch.from_numpy(np.stack(masks)))
    if mask_format != "polygon":
        raise ValueError(f"mask_format must be 'polygon' or 'bitmask', got {mask_format!r}")
    if not all(isinstance(s, (list, tuple)) for s in segmentations):
        raise ValueError(
            "mask_format='polygon' cannot hold the RLE masks of this data set; use 'bitmask'"
        )
    return PolygonMasks([[np.asarray(p) for p in s] for s in segmentations])


def _bitmap(segmentation: Any, image_size: Size) -> NDArray[np.bool_]:
    if isinstance(segmentation, np.ndarray):
        return segmentation.astype(bool)
    if isinstance(segmentation, Mapping):
        return coco_mask.decode(dict(segmentation)).astype(bool)
    return polygons_to_bitmask(segmentation, *image_size)
