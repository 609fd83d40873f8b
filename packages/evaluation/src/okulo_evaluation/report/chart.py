"""Line charts as inline SVG. Colours come from the page's style sheet, so both modes work."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from attrs import field, frozen

__all__ = ["Chart", "Series", "format_number", "nice_ticks"]

# Geometry in SVG units; the page scales the chart to its column.
WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 44
COLORS = 8  # number of --series-N variables in style.css
MAX_POINTS = 500  # per series; more cannot be told apart at this width


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _all(series: Iterable["Series"]) -> tuple["Series", ...]:
    return tuple(series)


@frozen
class Series:
    """One line: points ``(x[i], y[i])`` in the order of x; a NaN or infinite y leaves a gap."""

    name: str
    x: tuple[float, ...] = field(converter=_floats)
    y: tuple[float, ...] = field(converter=_floats)

    def __attrs_post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(
                f"series {self.name!r} needs one y for each x, got {len(self.x)} x and "
                f"{len(self.y)} y"
            )


@frozen(kw_only=True)
class Chart:
    """Several series on common axes; an empty chart is drawn with a note instead of lines."""

    title: str
    series: tuple[Series, ...] = field(converter=_all)
    x_label: str = "step"
    y_label: str = ""

    def to_html(self) -> str:
        """A ``<figure>`` with title, legend (name and last value) and the drawing."""
        legend = "".join(
            f'<li class="c{k % COLORS}"><i></i>{escape(s.name)} <b>{_last(s)}</b></li>'
            for k, s in enumerate(self.series)
        )
        return (
            f'<figure class="chart"><figcaption>{escape(self.title)}</figcaption>'
            f'<ul class="legend">{legend}</ul>{self._svg()}</figure>'
        )

    def _svg(self) -> str:
        points = [(x, y) for s in self.series for x, y in _finite(s)]
        label = escape(f"{self.title}: {', '.join(s.name for s in self.series)}")
        head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        if not points:
            return (
                f'{head}<text class="none" x="{WIDTH / 2}" y="{HEIGHT / 2}">no values</text></svg>'
            )
        axes = _Axes.around(points)
        lines = "".join(_line(axes, k % COLORS, s) for k, s in enumerate(self.series))
        cursor = (
            f'<g class="cursor"><path d="M0 {TOP}V{HEIGHT - BOTTOM}"/><text y="{TOP - 2}"/></g>'
        )
        return f"{head}{axes.grid(self.x_label, self.y_label)}{lines}{cursor}</svg>"


@frozen
class _Axes:
    """The map from values to SVG units, and the ticks."""

    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]]) -> "_Axes":
        xs, ys = zip(*points, strict=True)
        y_ticks = nice_ticks(min(0.0, *ys), max(ys), 5)
        x_range = _widened(0.0 if 0 <= min(xs) < 0.3 * max(xs) else min(xs), max(xs))
        inside = tuple(t for t in nice_ticks(*x_range, 7) if x_range[0] <= t <= x_range[1])
        return cls(inside, y_ticks, x_range, (y_ticks[0], y_ticks[-1]))

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def grid(self, x_label: str, y_label: str) -> str:
        parts = []
        for tick in self.y_ticks:
            y = f"{self.y(tick):.1f}"
            parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
            text = format_number(tick)
            parts.append(f'<text class="ytick" x="{LEFT - 8}" y="{y}" dy=".35em">{text}</text>')
        base = HEIGHT - BOTTOM
        for tick in self.x_ticks:
            x = f"{self.x(tick):.1f}"
            parts.append(f'<path class="axis" d="M{x} {base}v5"/>')
            parts.append(
                f'<text class="xtick" x="{x}" y="{base + 19}">{format_number(tick)}</text>'
            )
        parts.append(f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
        if y_label:
            height = (TOP + base) / 2
            parts.append(
                f'<text class="label" transform="translate(13 {height}) rotate(-90)">'
                f"{escape(y_label)}</text>"
            )
        return "".join(parts)


def _line(axes: _Axes, color: int, series: Series) -> str:
    """The path of one series, with its values beside it for the pointer to read."""
    thin = _thinned(series)
    path, pen = [], "M"
    for x, y in zip(thin.x, thin.y, strict=True):
        if not math.isfinite(y):
            pen = "M"
            continue
        path.append(f"{pen}{axes.x(x):.1f} {axes.y(y):.1f}")
        pen = "L"
    seen = list(_finite(thin))
    values = [[round(axes.x(x), 1), format_number(x), format_number(y)] for x, y in seen]
    dots = ""
    if len(seen) <= 30:  # few measurements: show where they were taken
        dots = "".join(
            f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="2.6"/>' for x, y in seen
        )
    data = escape(json.dumps(values, separators=(",", ":")), quote=True)
    line = f'<path class="line" d="{"".join(path)}"/>'
    return f'<g class="c{color}" data-values="{data}">{line}{dots}</g>'


def _thinned(series: Series) -> Series:
    """At most :data:`MAX_POINTS` points; each stretch keeps its extremes, so spikes stay."""
    n = len(series.x)
    if n <= MAX_POINTS:
        return series
    y = np.asarray(series.y)
    keep = {0, n - 1}
    for chunk in np.array_split(np.arange(n), MAX_POINTS // 2):
        keep |= {int(chunk[np.argmin(y[chunk])]), int(chunk[np.argmax(y[chunk])])}
    order = sorted(keep)
    return Series(series.name, (series.x[i] for i in order), (series.y[i] for i in order))


def nice_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten) that cover [low, high]."""
    low, high = _widened(low, high)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(k * step, 12 - math.floor(math.log10(step))) for k in range(first, last + 1))


def format_number(value: float) -> str:
    """Four significant digits without trailing zeros; a dash for what is not finite."""
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty."""
    if high > low:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return (low - margin, low + margin) if low else (0.0, margin)


def _finite(series: Series) -> Iterable[tuple[float, float]]:
    pairs = zip(series.x, series.y, strict=True)
    return ((x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y))


def _last(series: Series) -> str:
    values = [y for _, y in _finite(series)]
    return format_number(values[-1]) if values else "–"
