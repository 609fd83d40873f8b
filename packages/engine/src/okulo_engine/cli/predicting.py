"""From image files to pictures with detections and COCO results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from okulo_core.catalog import Catalog
from okulo_core.data import DatasetInfo, ImageRecord
from okulo_core.data.coco_results import instances_to_coco_json, with_category_ids
from okulo_core.errors import CheckpointError, ConfigError, DataError
from okulo_core.protocols import Prediction
from okulo_engine.checkpoint import load_model_weights, weights_file
from okulo_engine.cli.pictures import read_picture, write_picture
from okulo_engine.launch import choose_device
from okulo_engine.run_config import RunConfig

__all__ = ["Predictor", "unique_names"]


class Predictor:
    """The model of a run with stored weights, applied to single images."""

    def __init__(self, config: RunConfig, weights: str, catalog: Catalog) -> None:
        if config.test_data is None:
            raise ConfigError("test_data: the run has none, so its mapper cannot read images")
        file = weights_file(weights)  # once: a training may write a newer one meanwhile
        self._info = stored_info(file) or config.test_data.dataset.build().info
        self._model = config.model.build()
        load_model_weights(self._model, file)
        self._model.to(choose_device(config.device)).eval()
        self._mapper = config.test_data.mapper.build(self._info, training=False)
        drawing = config.visualizer or catalog.config_class("visualizer", "instances")()
        self._visualizer = drawing.build(self._info)

    def predict(
        self, path: str, name: str, *, picture: Path, threshold: float
    ) -> list[dict[str, Any]]:
        """Detect in one image and draw what scores at least ``threshold`` to ``picture``.

        Returns:
            COCO results with the data set's category ids and a ``file_name``, see
            :mod:`okulo_core.data.coco_results`; ``image_id`` is ``name``, as a number where it is
            one.

        Raises:
            MissingFileError: There is no such image.
            DataError: The image cannot be read, or a label is unknown to the data set.
        """
        image_id = int(name) if name.isdecimal() else name
        sample = self._mapper(
            ImageRecord(file_name=path, image_id=image_id), np.random.default_rng(0)
        )
        if sample is None:
            raise DataError(f"the mapper of test_data declines the image {path}")
        with torch.inference_mode():
            (prediction,) = self._model([sample])
        prediction = _on_cpu(prediction)
        results = self._results(prediction, image_id, path)
        drawn = self._visualizer.draw_prediction(read_picture(path), prediction, threshold)
        write_picture(picture, drawn)
        return results

    def _results(
        self, prediction: Prediction, image_id: int | str, path: str
    ) -> list[dict[str, Any]]:
        if "instances" not in prediction:
            return []
        results = instances_to_coco_json(prediction["instances"], image_id)
        try:
            results = with_category_ids(results, self._info)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        return [{**result, "file_name": path} for result in results]


def stored_info(weights: str | Path) -> DatasetInfo | None:
    """What the training knew of its data set, from the metadata of a safetensors file.

    Args:
        weights: A file or folder, see :func:`~okulo_engine.checkpoint.weights_file`.

    Raises:
        MissingFileError: If it is not there.
        CheckpointError: If it is damaged.
    """
    file = weights_file(weights)
    if file.suffix != ".safetensors":
        return None
    try:
        with safe_open(file, "numpy") as content:
            text = (content.metadata() or {}).get("info")
        return DatasetInfo.from_dict(json.loads(text)) if text else None
    except Exception as error:  # of safetensors, of JSON, or of what the info lacks
        raise CheckpointError(
            f"cannot read what {file} ({file.stat().st_size} bytes) says of its data set: {error}; "
            f"the file is truncated or of another format"
        ) from error


def unique_names(paths: Sequence[str]) -> list[str]:
    """File names without their endings; where those are equal, a number tells them apart."""
    names: list[str] = []
    for path in paths:
        stem = name = Path(path).stem
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _on_cpu(prediction: Prediction) -> Prediction:
    moved: dict[str, Any] = {}
    for name, value in prediction.items():
        if isinstance(value, tuple):  # panoptic: the map, and its segments
            moved[name] = (value[0].cpu(), *value[1:])
        else:
            moved[name] = value.to("cpu")  # type: ignore[attr-defined]
    return moved  # type: ignore[return-value]
