"""One image: textured ground, figures on top of each other, and the exact labels of both."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from okulo_shapes.figures import CLASSES, HUES, Figure
from okulo_shapes.textures import TEXTURES, hsv, texture

__all__ = ["Scene", "draw_scene"]

Mask = NDArray[np.bool_]
Pixels = NDArray[Any]  # float32, [0, 1]

MIN_VISIBLE = 0.4  # share of a figure's area that later figures and the border leave visible
MIN_SIDE = 0.09  # sides of the visible part, as a share of the image's short side
HUE_SPREAD = 0.04  # standard deviation of a figure's hue, in turns
_SUPERSAMPLING = 4  # coverage of a pixel in steps of 1/16
_ATTEMPTS = 12


@frozen(kw_only=True, eq=False)
class Scene:
    """An image with its labels; the figures are in drawing order, the last one on top."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    figures: tuple[Figure, ...]
    owner: NDArray[np.int32]
    """(H, W): k + 1 where figure k is visible, 0 on the ground."""
    ground: NDArray[np.uint8]
    """(H, W) index into TEXTURES, also below the figures."""

    def mask(self, k: int) -> Mask:
        """(H, W) visible pixels of figure k."""
        return self.owner == k + 1


def draw_scene(height: int, width: int, max_objects: int, rng: np.random.Generator) -> Scene:
    """Draw an image with 1 to ``max_objects`` figures, each clearly visible."""
    canvas, ground = _draw_ground(height, width, rng)
    owner = np.zeros((height, width), dtype=np.int32)
    figures: list[Figure] = []
    wanted = int(rng.integers(1, max_objects + 1))
    for _ in range(_ATTEMPTS * wanted):
        if len(figures) == wanted:
            break
        figure = _draw_figure_parameters(height, width, rng)
        coverage = _fill(figure.outline(), height, width)
        proposed = np.where(coverage >= 0.5, len(figures) + 1, owner).astype(np.int32)
        if _all_visible([*figures, figure], proposed):
            figures.append(figure)
            owner = proposed
            canvas = _paint(canvas, figure, coverage, rng)
    image = np.rint(canvas * 255).astype(np.uint8)
    return Scene(image=image, figures=tuple(figures), owner=owner, ground=ground)


def _draw_ground(
    height: int, width: int, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.uint8]]:
    """One texture, or two that meet in a waving border."""
    first, second = rng.choice(len(TEXTURES), size=2, replace=False)
    canvas = texture(TEXTURES[first], height, width, rng)
    ground = np.full((height, width), first, dtype=np.uint8)
    if rng.random() < 0.5:
        y, x = np.mgrid[:height, :width]
        wave = 0.05 * np.sin(2 * np.pi * (x / width * rng.uniform(1, 3) + rng.random()))
        below = y / height > rng.uniform(0.35, 0.65) + wave
        canvas[below] = texture(TEXTURES[second], height, width, rng)[below]
        ground[below] = second
    return canvas, ground


def _draw_figure_parameters(height: int, width: int, rng: np.random.Generator) -> Figure:
    return Figure(
        label=int(rng.integers(len(CLASSES))),
        center=(float(rng.uniform(0.1, 0.9) * width), float(rng.uniform(0.1, 0.9) * height)),
        radius=float(rng.uniform(0.11, 0.25) * min(height, width)),
        stretch=float(np.exp(rng.uniform(-0.25, 0.25))),
        angle=float(rng.uniform(-180, 180)),
    )


def _all_visible(figures: list[Figure], owner: NDArray[np.int32]) -> bool:
    side = MIN_SIDE * min(owner.shape)
    for k, figure in enumerate(figures):
        mask = (owner == k + 1).astype(np.uint8)
        area = cv2.contourArea(figure.outline().astype(np.float32))
        _, _, width, height = cv2.boundingRect(mask)
        if mask.sum() < MIN_VISIBLE * area or min(width, height) < side:
            return False
    return True


def _paint(
    canvas: Pixels,
    figure: Figure,
    coverage: Pixels,
    rng: np.random.Generator,
) -> Pixels:
    """Shadow, shaded fill, rim, and a dot towards the tip that tells up from down."""
    height, width = coverage.shape
    hue = rng.normal(HUES[figure.label], HUE_SPREAD)
    color = hsv(hue, rng.uniform(0.6, 1.0), rng.uniform(0.65, 1.0))
    right, down = figure.axes()[1] / figure.radius
    x = (np.arange(width) + 0.5 - figure.center[0]) * right
    y = (np.arange(height) + 0.5 - figure.center[1]) * down
    depth = np.clip(y[:, None] + x, -1, 1).astype(np.float32)[..., None]  # -1 tip, 1 base
    fill = color * (0.95 - 0.22 * depth)

    dot = _fill(figure.place(_DOT), height, width)[..., None]
    fill += dot * (0.55 * (1 - fill))
    rim = _line(figure.outline(), max(1.2, 0.07 * figure.radius), height, width)[..., None]
    fill *= 1 - 0.6 * rim

    offset = 0.12 * figure.radius
    shadow = _fill(figure.outline() + offset, height, width)
    shadow = cv2.GaussianBlur(shadow, (0, 0), sigmaX=0.6 * offset)[..., None]
    alpha = coverage[..., None]
    shaded = canvas * (1 - 0.35 * shadow)
    return np.clip(shaded + alpha * (fill - shaded), 0, 1)


_DOT = 0.13 * np.stack([np.sin(np.linspace(0, 6, 20)), np.cos(np.linspace(0, 6, 20))], 1) - (0, 0.5)


def _fill(outline: NDArray[np.float64], height: int, width: int) -> Pixels:
    """(H, W) share of each pixel inside a polygon, in [0, 1]."""
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), dtype=np.uint8)
    cv2.fillPoly(fine, [_fine_points(outline)], 255)
    return _shrink(fine, height, width)


def _line(outline: NDArray[np.float64], thickness: float, height: int, width: int) -> Pixels:
    """(H, W) share of each pixel on a closed line."""
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), dtype=np.uint8)
    pen = max(1, round(thickness * _SUPERSAMPLING))
    cv2.polylines(fine, [_fine_points(outline)], isClosed=True, color=255, thickness=pen)
    return _shrink(fine, height, width)


def _fine_points(outline: NDArray[np.float64]) -> NDArray[np.int32]:
    # OpenCV counts from pixel centres, we from the outer corner.
    return np.rint(outline * _SUPERSAMPLING - 0.5).astype(np.int32)


def _shrink(fine: NDArray[np.uint8], height: int, width: int) -> Pixels:
    coarse = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return coarse.astype(np.float32) / 255
