"""Random augmentations: policies that look at the data, draw numbers and return a transform."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from okulo_transforms.transform import Array, Transform, TransformList, signature_repr

__all__ = ["AugInput", "Augmentation", "AugmentationList"]


class AugInput:
    """The data that augmentations may look at and that their transforms change.

    An augmentation sees attributes of this object only. Any object with the attributes that it asks
    for and a method ``transform`` can take its place.
    """

    def __init__(
        self,
        image: Array,
        *,
        boxes: Array | None = None,
        sem_seg: Array | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        """
        Args:
            image: (H, W) or (H, W, C), uint8 in [0, 255] or floating point.
            boxes: (N, 4) XYXY, pixels.
            sem_seg: (H, W) integer labels.
            rng: Source of every random number; None starts an unrepeatable one.
        """
        _check_image(image)
        self.image = image
        self.boxes = boxes
        self.sem_seg = sem_seg
        self.rng = rng if rng is not None else np.random.default_rng()

    def transform(self, tfm: Transform) -> None:
        """Replace the image, and boxes and labels if present, by their transformed selves."""
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)


class Augmentation:
    """A policy. Subclass it and write ``get_transform``.

    The parameters of ``get_transform`` select by name what it is given from the input: ``image``,
    ``boxes``, ``sem_seg``, ``rng`` (a numpy Generator), or any attribute of a custom input. A
    single parameter beside ``rng`` under any other name means the image.
    """

    get_transform: Any

    def __call__(self, aug_input: Any) -> Transform:
        """Choose a transform for the input, apply it to the input, and return it."""
        transform = self.get_transform(*(self._argument(aug_input, n) for n in self._names()))
        if not isinstance(transform, Transform):
            raise TypeError(
                f"{type(self).__name__}.get_transform must return a Transform, "
                f"got {type(transform).__name__}"
            )
        aug_input.transform(transform)
        return transform

    def _names(self) -> list[str]:
        parameters = inspect.signature(self.get_transform).parameters.values()
        if any(p.kind in {p.VAR_POSITIONAL, p.VAR_KEYWORD} for p in parameters):
            raise TypeError(
                f"{type(self).__name__}.get_transform has *args or **kwargs, so its inputs are "
                "unknown; name them, or write __call__ instead"
            )
        return [p.name for p in parameters]

    def _argument(self, aug_input: Any, name: str) -> Any:
        try:
            return getattr(aug_input, name)
        except AttributeError:
            if [n for n in self._names() if n != "rng"] == [name]:
                return aug_input.image
            raise AttributeError(
                f"{type(self).__name__}.get_transform asks for {name!r}, which "
                f"{type(aug_input).__name__} does not have"
            ) from None

    def __repr__(self) -> str:
        return signature_repr(self)


class AugmentationList(Augmentation):
    """Augmentations, and fixed transforms, applied in order; each sees the result of the former."""

    def __init__(self, augs: Iterable[Augmentation | Transform]) -> None:
        self.augs = list(augs)
        for aug in self.augs:
            if not isinstance(aug, (Augmentation, Transform)):
                raise TypeError(
                    f"AugmentationList takes augmentations and transforms, got {type(aug).__name__}"
                )

    def __call__(self, aug_input: Any) -> TransformList:
        """Apply every member to the input; return all transforms that were applied, flat."""
        applied = []
        for aug in self.augs:
            if isinstance(aug, Transform):
                aug_input.transform(aug)
                applied.append(aug)
            else:
                applied.append(aug(aug_input))
        return TransformList(applied)

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(map(repr, self.augs))}]"


def _check_image(image: Array) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image must be a numpy array, got {type(image).__name__}")
    if image.ndim not in {2, 3}:
        raise ValueError(f"image must have shape (H, W) or (H, W, C), got {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise TypeError(
            f"image must be uint8 or floating point, got {image.dtype}; "
            "convert with image.astype('uint8') or image.astype('float32')"
        )
