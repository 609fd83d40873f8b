"""One image and its annotations, as light as names and numbers: no pixels."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from okulo_core.structures import BoxMode

__all__ = ["Annotation", "ImageRecord", "Segmentation"]

# Polygons, each x0, y0, x1, y1, ... in absolute pixels; or a COCO run-length code with the keys
# "size" (height, width) and "counts"; or nothing.
Segmentation = tuple[tuple[float, ...], ...] | dict[str, Any] | None


def _segmentation(value: Any) -> Segmentation:
    if value is None or isinstance(value, Mapping):
        return None if value is None else dict(value)
    if not isinstance(value, list | tuple):
        raise TypeError(
            "segmentation must be a list of polygons or a run-length code with 'size' and "
            f"'counts', got {type(value).__name__}; encode arrays with pycocotools.mask.encode"
        )
    return tuple(tuple(polygon) for polygon in value)


def _tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(values)


def _optional_tuple(value: Any) -> tuple[float, ...] | None:
    return None if value is None else tuple(value)


@frozen(kw_only=True)
class Annotation:
    """One object in one image.

    Attributes:
        bbox: Four numbers, or five for a rotated box, meant as ``bbox_mode`` says.
        bbox_mode: Frame of ``bbox``; absolute modes are continuous pixels.
        category_id: Label 0..K-1; K itself is background and never appears here.
        segmentation: Polygons or run-length code, see :data:`Segmentation`.
        keypoints: x, y, v of each keypoint in turn. x and y are continuous pixels, hence 0.5 more
            than the pixel indices that COCO files hold; v is COCO's visibility 0, 1 or 2.
        iscrowd: 1 for a region of many objects, as COCO defines it.
        area: Area in square pixels as the source states it; COCO sorts objects by size with it.
        id: Id of the annotation in its source.
        extra: Whatever else the source says, for mappers that know about it.
    """

    bbox: tuple[float, ...] = field(converter=_tuple)
    bbox_mode: BoxMode = field(default=BoxMode.XYXY_ABS, converter=BoxMode)
    category_id: int
    segmentation: Segmentation = field(default=None, converter=_segmentation)
    keypoints: tuple[float, ...] | None = field(default=None, converter=_optional_tuple)
    iscrowd: int = 0
    area: float | None = None
    id: int | None = None
    extra: dict[str, Any] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The instance dictionary of detectron2's standard data set format."""
        data: dict[str, Any] = {
            "bbox": list(self.bbox),
            "bbox_mode": self.bbox_mode,
            "category_id": self.category_id,
            "iscrowd": self.iscrowd,
        }
        if isinstance(self.segmentation, dict):
            data["segmentation"] = dict(self.segmentation)
        elif self.segmentation is not None:
            data["segmentation"] = [list(polygon) for polygon in self.segmentation]
        if self.keypoints is not None:
            data["keypoints"] = list(self.keypoints)
        for name in ("area", "id"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        return data | self.extra

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Annotation":
        """Read an instance dictionary; keys that it does not know go to ``extra``."""
        return cls(
            **_split(data, _ANNOTATION_FIELDS, required=("bbox", "bbox_mode", "category_id"))
        )


@frozen(kw_only=True)
class ImageRecord:
    """One image of a data set.

    Attributes:
        file_name: Path or URL of the image.
        image_id: Unique in the data set.
        height: Pixels, or None if unknown before the image is read.
        width: Pixels, or None if unknown before the image is read.
        annotations: Objects in the image; none at all is ordinary.
        sem_seg_file_name: Image of one channel with a label per pixel.
        pan_seg_file_name: RGB image with the segment id R + 256 G + 65536 B per pixel.
        segments_info: For each id there: ``id``, ``category_id`` (label), ``iscrowd``, ``isthing``;
            a pixel whose id is not listed has no label.
        extra: Whatever else the source says, for mappers that know about it.
    """

    file_name: str
    image_id: int | str
    height: int | None = None
    width: int | None = None
    annotations: tuple[Annotation, ...] = field(default=(), converter=_tuple)
    sem_seg_file_name: str | None = None
    pan_seg_file_name: str | None = None
    segments_info: tuple[dict[str, Any], ...] = field(default=(), converter=_tuple)
    extra: dict[str, Any] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """detectron2's standard data set dictionary; what is None is left out."""
        data: dict[str, Any] = {"file_name": self.file_name, "image_id": self.image_id}
        for name in ("height", "width", "sem_seg_file_name", "pan_seg_file_name"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        data["annotations"] = [annotation.to_dict() for annotation in self.annotations]
        if self.pan_seg_file_name is not None:
            data["segments_info"] = [dict(segment) for segment in self.segments_info]
        return data | self.extra

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ImageRecord":
        """Read a standard data set dictionary.

        Keys that it does not know go to ``extra``. Semantic data sets have no ``image_id``; the
        file name, unique as well, takes its place.
        """
        values = _split(data, _IMAGE_FIELDS, required=("file_name",))
        values.setdefault("image_id", values["file_name"])
        values["annotations"] = [
            Annotation.from_dict(annotation) for annotation in values.get("annotations", ())
        ]
        return cls(**values)


_ANNOTATION_FIELDS = frozenset(Annotation.__annotations__) - {"extra"}
_IMAGE_FIELDS = frozenset(ImageRecord.__annotations__) - {"extra"}


def _split(
    data: Mapping[str, Any], known: frozenset[str], required: tuple[str, ...]
) -> dict[str, Any]:
    missing = [name for name in required if name not in data]
    if missing:
        raise ValueError(f"a data set dictionary lacks {missing}; it has the keys {sorted(data)}")
    values = {name: value for name, value in data.items() if name in known}
    return values | {"extra": {key: value for key, value in data.items() if key not in known}}
