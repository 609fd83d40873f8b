"""Backgrounds: four kinds of texture in muted colours, each (H, W, 3) float32 RGB in [0, 1]."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["TEXTURES", "hsv", "texture"]

Image = NDArray[np.float32]


def texture(name: str, height: int, width: int, rng: np.random.Generator) -> Image:
    """Draw one of :data:`TEXTURES`."""
    hue = rng.random()
    dark, light = sorted(rng.uniform(0.3, 0.95, size=2))
    first = hsv(hue, rng.uniform(0.1, 0.45), dark)
    second = hsv(hue + rng.uniform(-0.12, 0.12), rng.uniform(0.05, 0.35), max(light, dark + 0.15))
    weight = _WEIGHTS[name](height, width, rng)[..., None]
    grain = rng.normal(0, 0.018, (height, width, 1))
    return np.clip(first + weight * (second - first) + grain, 0, 1).astype(np.float32)


def hsv(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """One RGB colour from a hue in turns."""
    pixel = np.array([[[hue % 1.0 * 360.0, saturation, min(value, 1.0)]]], dtype=np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]


def _ramp(height: int, width: int, rng: np.random.Generator) -> Image:
    """A coordinate in [0, 1] along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = np.cos(angle) * x + np.sin(angle) * y
    return (along - along.min()) / (np.ptp(along) + 1e-6)


def _gradient(height: int, width: int, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        return _ramp(height, width, rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    center_x, center_y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
    distance = np.hypot(x - center_x, y - center_y)
    return 1 - distance / distance.max()


def _stripes(height: int, width: int, rng: np.random.Generator) -> Image:
    period = rng.uniform(0.06, 0.2)
    sharpness = rng.uniform(1, 6)
    waves = np.sin(2 * np.pi * (_ramp(height, width, rng) / period + rng.random()))
    return 0.5 + 0.4 * np.tanh(sharpness * waves)


def _noise(height: int, width: int, rng: np.random.Generator) -> Image:
    total = np.zeros((height, width), dtype=np.float32)
    for cells, strength in ((4, 1.0), (9, 0.6), (22, 0.35), (50, 0.2)):
        coarse = rng.random((cells, cells)).astype(np.float32)
        total += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total - total.min()) / (np.ptp(total) + 1e-6)


def _clutter(height: int, width: int, rng: np.random.Generator) -> Image:
    """Many thin lines and small blots, which resemble pieces of figures but are none."""
    canvas = np.full((height, width), 0.4, dtype=np.float32)
    side = min(height, width)
    for _ in range(60):
        start = rng.integers(0, (width, height))
        end = start + rng.integers(-side // 6, side // 6 + 1, size=2)
        color = float(rng.random())
        if rng.random() < 0.6:
            cv2.line(canvas, start.tolist(), end.tolist(), color, 1, cv2.LINE_AA)
        else:
            cv2.circle(canvas, start.tolist(), int(rng.integers(1, 4)), color, -1, cv2.LINE_AA)
    return canvas


_WEIGHTS = {
    "gradient": _gradient,
    "stripes": _stripes,
    "noise": _noise,
    "clutter": _clutter,
}
TEXTURES = tuple(_WEIGHTS)
