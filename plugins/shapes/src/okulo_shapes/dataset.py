"""The data set ``shapes``: drawn into a folder once, then read like any other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from attrs import asdict, evolve, field, frozen
from attrs.validators import and_, deep_iterable, ge, in_, le
from numpy.typing import NDArray

from okulo_core.data import ImageRecord, InMemoryDataset
from okulo_core.io import dump, load, resolve
from okulo_core.structures import BoxMode
from okulo_shapes.labels import INFO, annotate, panoptic, rotated_boxes, semantic
from okulo_shapes.scene import draw_scene

__all__ = ["ShapesConfig"]

_DRAWING = 2  # counts up whenever the same settings give other pictures
_SPLITS = ("train", "val")


@frozen(kw_only=True)
class ShapesConfig:
    """A data set of drawn figures: circle, square, triangle, star and cross.

    Image k depends on ``seed``, ``split``, ``image_size``, ``max_objects`` and k alone, so a
    smaller data set is the beginning of a larger one. Each combination of settings has its own
    folder below ``root``.
    """

    root: str = "datasets://shapes"
    split: Literal["train", "val"] = field(default="train", validator=in_(_SPLITS))
    num_images: int = field(default=400, validator=ge(0))
    image_size: tuple[int, int] = field(default=(160, 160), validator=deep_iterable(ge(32)))
    """Height and width, pixels."""
    max_objects: int = field(default=5, validator=and_(ge(1), le(50)))
    seed: int = field(default=0, validator=ge(0))
    boxes: Literal["axis_aligned", "rotated"] = field(
        default="axis_aligned", validator=in_(("axis_aligned", "rotated"))
    )
    """Whether annotations have XYXY boxes or rotated ones, both of the visible part."""

    def build(self) -> InMemoryDataset:
        """Draw what is not there yet, and read it."""
        folder = self.folder()
        if not folder.exists():
            _draw_folder(self, folder)
        return InMemoryDataset(INFO, _read_folder(folder, rotated=self.boxes == "rotated"))

    def folder(self) -> Path:
        """Where the files of these settings are."""
        digest = hashlib.sha256(json.dumps(self.drawing()).encode()).hexdigest()[:10]
        return Path(resolve(self.root)) / f"{self.split}-{digest}"

    def drawing(self) -> dict[str, Any]:
        """The settings that decide what the files contain."""
        settings = asdict(self)
        del settings["root"], settings["boxes"]
        return settings | {"drawing": _DRAWING}


def _draw_folder(config: ShapesConfig, folder: Path) -> None:
    """Write all files beside ``folder`` and rename at the end: what has the name is complete."""
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for kind in ("images", "semantic", "panoptic"):
            (temporary / kind).mkdir(parents=True)
        _draw_files(config, temporary)
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.exists():  # else another process was faster and drew the same
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _draw_files(config: ShapesConfig, folder: Path) -> None:
    records: list[dict[str, Any]] = []
    rotated: list[list[list[float]]] = []
    height, width = config.image_size
    next_id = 1
    for index in range(config.num_images):
        rng = np.random.default_rng([config.seed, _SPLITS.index(config.split), index])
        scene = draw_scene(height, width, config.max_objects, rng)
        name = f"{index:06d}.png"
        ids, segments = panoptic(scene)
        _write_png(folder / "images" / name, scene.image)
        _write_png(folder / "semantic" / name, semantic(scene))
        _write_png(folder / "panoptic" / name, np.stack([ids, ids >> 8, ids >> 16], axis=-1))
        record = ImageRecord(
            file_name=f"images/{name}",
            image_id=index,
            height=height,
            width=width,
            annotations=tuple(annotate(scene, next_id)),
            sem_seg_file_name=f"semantic/{name}",
            pan_seg_file_name=f"panoptic/{name}",
            segments_info=tuple(segments),
        )
        records.append(record.to_dict())
        rotated.append(rotated_boxes(scene))
        next_id += len(scene.figures)
    dump(records, folder / "records.json")
    dump(rotated, folder / "rotated.json")
    dump(config.drawing(), folder / "settings.json")


def _write_png(path: Path, image: NDArray[Any]) -> None:
    """Write (H, W) or (H, W, 3) RGB pixels."""
    pixels = image.astype(np.uint8)
    encoded = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1]
    path.write_bytes(encoded.tobytes())


def _read_folder(folder: Path, *, rotated: bool) -> list[ImageRecord]:
    records = [_absolute(ImageRecord.from_dict(r), folder) for r in load(folder / "records.json")]
    if not rotated:
        return records
    boxes = load(folder / "rotated.json")
    return [_with_rotated(r, b) for r, b in zip(records, boxes, strict=True)]


def _absolute(record: ImageRecord, folder: Path) -> ImageRecord:
    return evolve(
        record,
        file_name=str(folder / record.file_name),
        sem_seg_file_name=str(folder / str(record.sem_seg_file_name)),
        pan_seg_file_name=str(folder / str(record.pan_seg_file_name)),
    )


def _with_rotated(record: ImageRecord, boxes: list[list[float]]) -> ImageRecord:
    annotations = tuple(
        evolve(annotation, bbox=tuple(box), bbox_mode=BoxMode.XYWHA_ABS)
        for annotation, box in zip(record.annotations, boxes, strict=True)
    )
    return evolve(record, annotations=annotations)
