"""Stable, distinct colours. A class keeps its colour in every picture and every process."""

import colorsys

__all__ = ["Color", "contrast_color", "distinct_color"]

Color = tuple[int, int, int]  # RGB, 0..255

GOLDEN_RATIO = 0.6180339887498949
# Saturation and value of successive rounds through the hues: neighbours differ in both.
SHADES = ((0.78, 0.98), (0.95, 0.78), (0.52, 1.0))


def distinct_color(index: int) -> Color:
    """The colour number ``index`` (>= 0) of an endless sequence of well separated hues."""
    hue = (0.02 + index * GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, *SHADES[index // 6 % len(SHADES)])
    return round(255 * red), round(255 * green), round(255 * blue)


def contrast_color(background: Color) -> Color:
    """Black or white, whichever is easier to read on ``background`` (WCAG relative luminance)."""
    linear = [
        (c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in background
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Equal contrast with black and white: (L + 0.05) / 0.05 == 1.05 / (L + 0.05).
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)
