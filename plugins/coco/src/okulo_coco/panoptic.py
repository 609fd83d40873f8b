"""COCO panoptic: one PNG of segment ids per image (https://cocodataset.org/#format-data)."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen

from okulo_coco.files import category_colors, read_file, require, sorted_by_id, warn_of_gaps
from okulo_core.data import DatasetInfo, ImageRecord, InMemoryDataset
from okulo_core.errors import DataError, MissingFileError
from okulo_core.io import filesystem, resolve

__all__ = ["CocoPanopticConfig", "load_coco_panoptic"]


@frozen(kw_only=True)
class CocoPanopticConfig:
    """A data set in COCO's panoptic format; see :func:`load_coco_panoptic` for the arguments."""

    annotations: str
    images: str
    panoptic: str
    name: str = ""

    def build(self) -> InMemoryDataset:
        return load_coco_panoptic(self.annotations, self.images, self.panoptic, name=self.name)


def load_coco_panoptic(
    annotations: str, images: str, panoptic: str, *, name: str = ""
) -> InMemoryDataset:
    """Read a COCO panoptic annotation file; the images themselves are not opened.

    Things and stuff share one list of classes: label k is the category with the k-th smallest
    id, and each segment says with ``isthing`` what it is. Segments keep ``id``, ``iscrowd`` and
    whatever else the file says of them. Records come in the order of their image ids.

    Args:
        annotations: Path or URL of the JSON file.
        images: Folder or URL of the images.
        panoptic: Folder or URL of the PNG files with the segment ids.
        name: Of the data set; by default the name of the file.

    Raises:
        DataError: The file is empty or not COCO's panoptic format; ids occur twice, a category
            or image is unknown.
        MissingFileError: The first image or the first PNG file does not exist.
    """
    path = resolve(annotations)
    data = read_file(path)
    categories = sorted_by_id(data["categories"], ("name", "isthing"), f"{path}: category")
    category_ids = [category["id"] for category in categories]
    warn_of_gaps(path, category_ids)
    names = tuple(category["name"] for category in categories)
    colors = category_colors(categories)
    info = DatasetInfo(
        name=name or Path(path).stem,
        thing_classes=names,
        thing_colors=colors,
        thing_dataset_ids=tuple(category_ids),
        stuff_classes=names,
        stuff_colors=colors,
        stuff_dataset_ids=tuple(category_ids),
    )
    labels = {
        category["id"]: (k, bool(category["isthing"])) for k, category in enumerate(categories)
    }
    dataset = InMemoryDataset(
        info, _records(path, data, labels, resolve(images), resolve(panoptic))
    )
    _check_first(dataset)
    return dataset


def _records(
    path: str,
    data: dict[str, Any],
    labels: dict[int, tuple[int, bool]],
    image_root: str,
    panoptic_root: str,
) -> Iterator[ImageRecord]:
    images = {item["id"]: item for item in sorted_by_id(data["images"], (), f"{path}: image")}
    seen: set[int] = set()
    for position, item in enumerate(data["annotations"]):
        require(item, ("image_id", "file_name", "segments_info"), f"{path}: annotation {position}")
        if item["image_id"] not in images or item["image_id"] in seen:
            problem = "annotated twice" if item["image_id"] in seen else "not among its images"
            raise DataError(f"{path}: image {item['image_id']} is {problem}")
        seen.add(item["image_id"])
    for item in sorted(data["annotations"], key=lambda item: item["image_id"]):
        image = images[item["image_id"]]
        # COCO names its photographs as their annotations, but for the ending.
        photograph = str(PurePosixPath(item["file_name"]).with_suffix(".jpg"))
        yield ImageRecord(
            file_name=os.path.join(image_root, image.get("file_name", photograph)),
            image_id=item["image_id"],
            height=image.get("height"),
            width=image.get("width"),
            pan_seg_file_name=os.path.join(panoptic_root, item["file_name"]),
            segments_info=[
                _segment(segment, labels, f"{path}: image {item['image_id']}")
                for segment in item["segments_info"]
            ],
        )


def _segment(
    segment: dict[str, Any], labels: dict[int, tuple[int, bool]], place: str
) -> dict[str, Any]:
    require(segment, ("id", "category_id"), f"{place}: a segment")
    if segment["category_id"] not in labels:
        raise DataError(
            f"{place}: segment {segment['id']} has category id {segment['category_id']}, which is "
            f"not among the file's categories {list(labels)}"
        )
    label, isthing = labels[segment["category_id"]]
    return segment | {"category_id": label, "isthing": isthing}


def _check_first(dataset: InMemoryDataset) -> None:
    """Wrong folders are noticed here, and not an hour later."""
    for record in dataset.records[:1]:
        for file in (record.file_name, record.pan_seg_file_name or ""):
            system, inner = filesystem(file)
            if not system.exists(inner):
                raise MissingFileError(
                    f"there is no file {file}; check 'images' and 'panoptic' of the data set"
                )
