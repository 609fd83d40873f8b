"""What the packages hand to each other; they meet here and import nothing of one another.

Configs build these: kind ``model``: ``build() -> nn.Module``; ``mapper``:
``build(info, training) -> Mapper``; ``evaluator``: ``build(dataset, output_dir) -> Evaluator``;
``visualizer``: ``build(info) -> Visualizer``; ``dataset``: ``build() -> Dataset``.

A model is an ``nn.Module`` with a property ``device``, called with a list of samples: in training
it returns a dictionary of named scalar losses, in evaluation a list of predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from okulo_core.data import ImageRecord
    from okulo_core.structures import Instances

__all__ = ["Evaluator", "Mapper", "Prediction", "Sample", "Visualizer"]


class Sample(TypedDict, total=False):
    """One image as a model takes it."""

    image: Tensor  # (C, H, W), uint8 or float32, 0..255, channels in the mapper's order
    height: int  # of the original image, in pixels: the size of the wanted output
    width: int
    image_id: int | str
    file_name: str
    instances: Instances  # truth: gt_boxes, gt_classes, gt_masks, gt_keypoints, in image's frame
    sem_seg: Tensor  # (H, W), int64 labels


class Prediction(TypedDict, total=False):
    """What a model says of one image, in pixels of the original image."""

    # pred_boxes (Boxes), scores (N,), pred_classes (N,) int64, pred_masks (N, H, W) bool,
    # pred_keypoints (N, K, 3) as x, y, score
    instances: Instances
    sem_seg: Tensor  # (classes, H, W), scores
    panoptic_seg: tuple[Tensor, list[dict[str, Any]] | None]  # (H, W) segment ids; segments


class Mapper(Protocol):
    """Turns a record into a sample: decode, augment, convert."""

    def __call__(self, record: ImageRecord, rng: np.random.Generator) -> Sample | None:
        """Return the sample, or None if the record gives none; all chance comes from ``rng``."""
        ...


class Evaluator(Protocol):
    """Compares predictions with the truth of its data set."""

    def reset(self) -> None:
        """Forget what was processed."""
        ...

    def process(self, inputs: Sequence[Sample], outputs: Sequence[Prediction]) -> None:
        """Take in one batch; ``inputs[i]`` and ``outputs[i]`` are of the same image."""
        ...

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Merge all processes and score, in percent: ``{"bbox": {"AP": ..., "AP-cat": ...}}``.

        Every process must call this; all but the main one get an empty dictionary.
        """
        ...


class Visualizer(Protocol):
    """Draws on images: RGB, (H, W, 3), uint8; the result is a new array."""

    def draw_prediction(
        self, image: np.ndarray, prediction: Prediction, threshold: float = 0.5
    ) -> np.ndarray:
        """Draw what scores at least ``threshold``."""
        ...

    def draw_record(self, image: np.ndarray, record: ImageRecord) -> np.ndarray:
        """Draw the truth."""
        ...
