"""COCO instances: boxes, masks, keypoints (https://cocodataset.org/#format-data)."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from okulo_coco.files import category_colors, read_file, require, sorted_by_id, warn_of_gaps
from okulo_coco.keypoints import keypoint_info
from okulo_coco.shapes import box_fault, clipped_box, read_keypoints, read_rle, valid_polygon
from okulo_core.data import Annotation, DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.errors import DataError
from okulo_core.io import resolve
from okulo_core.structures import BoxMode

__all__ = ["CocoConfig", "load_coco"]

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class CocoConfig:
    """A data set in COCO's instance format; see :func:`load_coco` for the arguments."""

    annotations: str
    images: str
    name: str = ""
    on_bad_box: Literal["raise", "drop"] = "raise"
    extra_annotation_keys: tuple[str, ...] = ()

    def build(self) -> InMemoryDataset:
        return load_coco(
            self.annotations,
            self.images,
            name=self.name,
            on_bad_box=self.on_bad_box,
            extra_annotation_keys=self.extra_annotation_keys,
        )


def load_coco(
    annotations: str,
    images: str,
    *,
    name: str = "",
    on_bad_box: Literal["raise", "drop"] = "raise",
    extra_annotation_keys: tuple[str, ...] = (),
) -> InMemoryDataset:
    """Read a COCO annotation file; the images themselves are not opened.

    Records come in the order of their image ids; images without annotations are kept. Label k is
    the category with the k-th smallest id. Crowd regions are kept with ``iscrowd=1``. Keypoint
    coordinates gain 0.5. A box of five numbers is rotated: centre, size, angle.

    What is dropped, each with one warning for the file: polygons with an odd number of values,
    fewer than three points, or coordinates that are not finite numbers, and instances left without
    any; boxes wholly outside their image; annotations of images that the file does not list. Boxes
    partly outside are clipped, with a warning.

    Args:
        annotations: Path or URL of the JSON file.
        images: Folder or URL that its file names are relative to.
        name: Of the data set; by default the name of the file.
        on_bad_box: What to do about boxes that are missing, inverted or not finite.
        extra_annotation_keys: Keys of annotations to keep in :attr:`Annotation.extra`.

    Raises:
        DataError: The file is empty or not COCO's format, ids occur twice, a category is
            unknown, a mask does not decode or its size is not its image's, or, with ``"raise"``,
            a box is bad. The message names file, image and annotation.
    """
    path = resolve(annotations)
    data = read_file(path)
    categories = sorted_by_id(data["categories"], ("name",), f"{path}: category")
    category_ids = [category["id"] for category in categories]
    warn_of_gaps(path, category_ids)
    info = DatasetInfo(
        name=name or Path(path).stem,
        thing_classes=tuple(category["name"] for category in categories),
        thing_colors=category_colors(categories),
        thing_dataset_ids=tuple(category_ids),
        **keypoint_info(path, categories),
    )
    reader = _Reader(path, resolve(images), info, on_bad_box, extra_annotation_keys)
    dataset = InMemoryDataset(info, reader.records(data["images"], data.pop("annotations")))
    reader.report()
    return dataset


class _Reader:
    """Turns COCO's dictionaries into records and remembers what was wrong with them."""

    def __init__(
        self,
        path: str,
        image_root: str,
        info: DatasetInfo,
        on_bad_box: str,
        extra_keys: tuple[str, ...],
    ) -> None:
        self.path = path
        self.image_root = image_root
        self.labels = {category: label for label, category in enumerate(info.thing_dataset_ids)}
        self.num_keypoints = len(info.keypoint_names)
        self.on_bad_box = on_bad_box
        self.extra_keys = extra_keys
        self.faults: dict[str, list[str]] = defaultdict(list)  # fault -> places

    def records(
        self, images: list[dict[str, Any]], annotations: list[dict[str, Any]]
    ) -> Iterator[ImageRecord]:
        images = sorted_by_id(images, ("file_name", "height", "width"), f"{self.path}: image")
        by_image = self._by_image(annotations)
        annotations.clear()  # so that each annotation is let go once it is a record
        for image in images:
            for key in ("height", "width"):
                if not isinstance(image[key], int | float):
                    raise DataError(
                        f"{self.path}: image {image['id']}: {key!r} is not a number, but "
                        f"{image[key]!r}"
                    )
            yield ImageRecord(
                file_name=os.path.join(self.image_root, image["file_name"]),
                image_id=image["id"],
                height=image["height"],
                width=image["width"],
                annotations=self._annotations(image, by_image.pop(image["id"], [])),
            )
        for image_id, strays in by_image.items():
            self.faults["belong to images that the file does not list"] += [
                f"annotation {item.get('id')} (image {image_id})" for item in strays
            ]

    def report(self) -> None:
        """One message per kind of fault: a warning, or an error for bad boxes."""
        for fault, places in self.faults.items():
            shown = "; ".join(places[:5]) + ("; ..." if len(places) > 5 else "")
            message = f"{self.path}: {len(places)} annotations {fault}: {shown}"
            if fault == _BAD_BOX and self.on_bad_box == "raise":
                raise DataError(f"{message}\n  repair the file, or leave them out: {_REMEDY}")
            _log.warning("%s", message)

    def _by_image(self, annotations: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        seen: dict[Any, Any] = {}  # annotation id -> image id
        for position, item in enumerate(annotations):
            require(item, ("image_id", "category_id"), f"{self.path}: annotation {position}")
            by_image[item["image_id"]].append(item)
            # The minival files of COCO 2014 are known to repeat ids, and are used as they are.
            if item.get("id") in seen and "minival" not in Path(self.path).name:
                raise DataError(
                    f"{self.path}: the annotation id {item['id']} occurs more than once, for "
                    f"images {seen[item['id']]} and {item['image_id']}"
                )
            if "id" in item:
                seen[item["id"]] = item["image_id"]
        return by_image

    def _annotations(
        self, image: dict[str, Any], items: list[dict[str, Any]]
    ) -> Iterator[Annotation]:
        for item in items:
            place = f"annotation {item.get('id')} of image {image['id']} ({image['file_name']})"
            bbox = self._box(item, image, place)
            kept, segmentation = self._segmentation(item, image, place)
            if bbox is not None and kept:
                yield self._annotation(item, bbox, segmentation, place)

    def _annotation(
        self, item: dict[str, Any], bbox: list[float], segmentation: Any, place: str
    ) -> Annotation:
        if item["category_id"] not in self.labels:
            raise DataError(
                f"{self.path}: {place} has category id {item['category_id']}, which is not among "
                f"the file's categories {list(self.labels)}"
            )
        if item.get("ignore", 0):
            raise DataError(f"{self.path}: {place} has 'ignore' set, which COCO's format lacks")
        keypoints = item.get("keypoints")
        if keypoints:
            keypoints = read_keypoints(keypoints, self.num_keypoints, f"{self.path}: {place}")
        return Annotation(
            bbox=bbox,
            bbox_mode=BoxMode.XYWH_ABS if len(bbox) == 4 else BoxMode.XYWHA_ABS,
            category_id=self.labels[item["category_id"]],
            segmentation=segmentation,
            keypoints=keypoints or None,
            iscrowd=item.get("iscrowd", 0),
            area=item.get("area"),
            id=item.get("id"),
            extra={key: item[key] for key in self.extra_keys if key in item},
        )

    def _box(self, item: dict[str, Any], image: dict[str, Any], place: str) -> list[float] | None:
        """The box, clipped to the image; None if it is to be left out."""
        if "bbox" not in item:
            self.faults[_BAD_BOX].append(f"{place}: 'bbox' is missing")
            return None
        bbox: list[float] = item["bbox"]
        fault = box_fault(bbox)
        if fault is not None:
            self.faults[_BAD_BOX].append(f"{place}: {bbox} is {fault}")
            return None
        if len(bbox) == 5:
            return bbox
        clipped = clipped_box(bbox, image["height"], image["width"])
        if clipped is None:
            self.faults["have a box outside the image and are left out"].append(f"{place}: {bbox}")
        elif clipped != bbox:
            self.faults["have a box that reaches outside the image; it is clipped"].append(
                f"{place}: {bbox}"
            )
        return clipped

    def _segmentation(
        self, item: dict[str, Any], image: dict[str, Any], place: str
    ) -> tuple[bool, Any]:
        """Whether to keep the instance, and its mask."""
        mask = item.get("segmentation")
        if not mask:
            return True, None
        if isinstance(mask, dict):
            return True, read_rle(mask, image["height"], image["width"], f"{self.path}: {place}")
        polygons = [polygon for polygon in mask if valid_polygon(polygon)]
        if len(polygons) < len(mask):
            self.faults[_BAD_POLYGON].append(place)
        return bool(polygons), polygons


_BAD_BOX = "have a box that is missing, inverted or not finite"
_BAD_POLYGON = (
    "have mask polygons with fewer than 3 points, an odd number of values or values that are not "
    "finite numbers; the polygons, and instances without any other, are left out"
)
_REMEDY = "on_bad_box='drop'"
