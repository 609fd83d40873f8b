"""Labels: smooth text on a filled box, put where it hides no other label."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from attrs import frozen
from PIL import Image, ImageDraw, ImageFont

from okulo_evaluation.drawing.colors import Color, contrast_color

__all__ = ["Label", "TextStyle", "draw_labels", "draw_text_box"]

Anchor = tuple[float, float, float, float]  # XYXY of the object a label belongs to, in pixels


@frozen
class Label:
    """A text that belongs to the object inside ``anchor``."""

    text: str
    anchor: Anchor
    color: Color


@frozen
class TextStyle:
    """Letters: their size in pixels, and a TrueType file (Pillow's own font when None)."""

    size: int
    font: str | None = None

    def box_size(self, text: str) -> tuple[int, int]:
        """Width and height, in pixels, of the filled box around a text."""
        height, width = _rendered(text, self).shape
        return width, height


def draw_labels(image: np.ndarray, labels: Sequence[Label], style: TextStyle) -> None:
    """Draw labels in place, the first ones get the best places.

    Each label tries places around its object (above, inside, below; left, then right) and takes
    the first one within the image that covers no earlier label, else the one that covers least.
    """
    taken = np.zeros((0, 4))
    for label in labels:
        size = style.box_size(label.text)
        places = _places(label.anchor, size, image.shape[1], image.shape[0])
        place = places[int(np.argmin(_covered(places, taken)))]
        taken = np.concatenate([taken, place[None]])
        draw_text_box(image, label.text, (int(place[0]), int(place[1])), label.color, style)


def draw_text_box(
    image: np.ndarray, text: str, corner: tuple[int, int], color: Color, style: TextStyle
) -> None:
    """Text in black or white on a box filled with ``color``; ``corner`` = its left, top pixel."""
    alpha = _rendered(text, style)
    left, top = corner
    rows = slice(max(top, 0), min(top + alpha.shape[0], image.shape[0]))
    columns = slice(max(left, 0), min(left + alpha.shape[1], image.shape[1]))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    seen = alpha[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    weight = seen[..., None].astype(np.float32) / 255
    ink = np.asarray(contrast_color(color), dtype=np.float32)
    mixed = weight * ink + (1 - weight) * np.asarray(color, dtype=np.float32)
    image[rows, columns] = (mixed + 0.5).astype(np.uint8)


def _places(anchor: Anchor, size: tuple[int, int], width: int, height: int) -> np.ndarray:
    """Boxes (P, 4) where a label of this size may go, best first, moved into the image."""
    x0, y0, x1, y1 = anchor
    w, h = size
    outside = [
        (x0, y0 - h),  # on top of the object, then below it, then beside it
        (x1 - w, y0 - h),
        (x0, y1),
        (x1 - w, y1),
        (x1, y0),
        (x0 - w, y0),
        (x0, y0 - 2 * h),  # above a label that is already there
        (x0, y1 + h),
    ]
    inside = [(x0, y0), (x1 - w, y0), (x0, y1 - h), (x0, y0 + h)]
    # A label inside a small object would hide it.
    roomy = (x1 - x0) * (y1 - y0) > 5 * w * h
    corners = np.round([*outside[:2], *inside, *outside[2:]] if roomy else [*outside, *inside])
    wanted = corners.astype(int)
    moved = np.clip(wanted, 0, [max(width - w, 0), max(height - h, 0)])
    # A place that had to be pushed down or up would lie across its own object's edge: last.
    order = np.argsort(moved[:, 1] != wanted[:, 1], kind="stable")
    return np.concatenate([moved, moved + size], axis=1)[order].astype(float)


def _covered(places: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Area (P,) that each place shares with labels already drawn."""
    low = np.maximum(places[:, None, :2], taken[None, :, :2])
    high = np.minimum(places[:, None, 2:], taken[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)


@lru_cache(maxsize=2048)
def _rendered(text: str, style: TextStyle) -> np.ndarray:
    """Coverage (H, W) uint8 of a text with a margin; the same height for every text."""
    font = _font(style)
    ascent, descent = font.getmetrics()
    margin = max(1, round(style.size * 0.25))
    width = max(1, round(font.getlength(text))) + 2 * margin
    height = ascent + descent + 2
    canvas = Image.new("L", (width, height), 0)
    ImageDraw.Draw(canvas).text((margin, 1 + ascent), text, fill=255, font=font, anchor="ls")
    return np.asarray(canvas)


@lru_cache(maxsize=16)
def _font(style: TextStyle) -> ImageFont.FreeTypeFont:
    if style.font is None:
        font = ImageFont.load_default(style.size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise RuntimeError("Pillow was built without FreeType; install Pillow's own wheel")
        return font
    try:
        return ImageFont.truetype(style.font, style.size)
    except OSError as error:
        raise ValueError(f"{style.font!r} is no TrueType font that can be read: {error}") from error
