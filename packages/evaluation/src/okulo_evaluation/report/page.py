"""The report page: one HTML file that needs nothing else, readable in light and dark mode."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from numbers import Integral, Real
from os import PathLike
from typing import Any

import cv2
import numpy as np
from attrs import field, frozen

from okulo_core.io import atomic_write
from okulo_evaluation.report.chart import Chart, format_number

__all__ = ["Picture", "Table", "write_report"]

JPEG_QUALITY = 90


@frozen(eq=False)
class Picture:
    """An image of the gallery: RGB uint8 (H, W, 3), and the line under it."""

    image: np.ndarray
    caption: str = ""

    def __attrs_post_init__(self) -> None:
        shape, dtype = np.shape(self.image), getattr(self.image, "dtype", None)
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(
                f"a picture must be a uint8 array of shape (H, W, 3), got {dtype} {shape}"
            )


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def _rows(rows: Iterable[Iterable[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in rows)


@frozen
class Table:
    """A titled table; numbers are set right with four digits, everything else as text."""

    title: str
    columns: tuple[str, ...] = field(converter=_names)
    rows: tuple[tuple[Any, ...], ...] = field(converter=_rows)

    def __attrs_post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r} has {len(self.columns)} columns, got a row of {len(row)}"
                )


def write_report(
    path: str | PathLike[str],
    *,
    title: str,
    summary: Mapping[str, Any] | None = None,
    curves: Sequence[Chart] = (),
    tables: Sequence[Table] = (),
    gallery: Sequence[Picture] = (),
    config_text: str = "",
    environment: Mapping[str, Any] | None = None,
) -> None:
    """Write the page atomically; a part that is empty is left out.

    Args:
        path: The HTML file.
        title: Heading and window title.
        summary: The few figures that matter, shown large: name -> number or text.
        curves: Charts, drawn as inline SVG.
        tables: Tables in their order.
        gallery: Pictures, embedded as JPEG.
        config_text: The resolved configuration as text.
        environment: Versions and devices: name -> value.
    """
    sections = [
        ("curves", "Curves", _block("charts", (chart.to_html() for chart in curves))),
        ("tables", "Results", _block("tables", (_table(table) for table in tables))),
        ("pictures", "Pictures", _block("gallery", (_picture(item) for item in gallery))),
        ("config", "", _config(config_text)),
        ("environment", "Environment", _environment(environment or {})),
    ]
    page = _page(title, summary or {}, [section for section in sections if section[2]])
    with atomic_write(path, "w") as file:
        file.write(page)


def _page(title: str, summary: Mapping[str, Any], sections: list[tuple[str, str, str]]) -> str:
    resources = files("okulo_evaluation.report")
    style = resources.joinpath("style.css").read_text(encoding="utf-8")
    script = resources.joinpath("behavior.js").read_text(encoding="utf-8")
    links = "".join(
        f'<a href="#{key}">{heading or key.title()}</a>' for key, heading, _ in sections
    )
    body = "".join(
        f'<section id="{key}">{f"<h2>{heading}</h2>" if heading else ""}{content}</section>'
        for key, heading, content in sections
    )
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>"
        f'<header><div><h1>{escape(title)}</h1><p class="made">{made}</p>'
        f"<nav>{links}</nav></div></header>\n"
        f"<main>{_cards(summary)}{body}</main><footer></footer>"
        f'<dialog><img alt=""></dialog>\n<script>\n{script}</script></body></html>\n'
    )


def _cards(summary: Mapping[str, Any]) -> str:
    if not summary:
        return ""
    texts = {name: _text(value) for name, value in summary.items()}
    long = " long" if any(len(text) > 14 for text in texts.values()) else ""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in texts.items()
    )
    return f'<dl class="cards{long}">{items}</dl>'


def _block(css_class: str, parts: Iterable[str]) -> str:
    content = "".join(parts)
    return f'<div class="{css_class}">{content}</div>' if content else ""


def _table(table: Table) -> str:
    columns = [[row[k] for row in table.rows] for k in range(len(table.columns))]
    css = [' class="number"' if _is_numeric(column) else "" for column in columns]
    texts = [_column_texts(column) for column in columns]
    head = "".join(f"<th{c}>{escape(n)}</th>" for c, n in zip(css, table.columns, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{c}>{escape(t)}</td>' for c, t in zip(css, row, strict=True))}</tr>"
        for row in zip(*texts, strict=True)
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return (
        f'<div class="table"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _column_texts(column: Sequence[Any]) -> list[str]:
    """Numbers of one column get the same decimals: four significant digits for the largest."""
    finite = [abs(value) for value in column if _is_number(value) and math.isfinite(value)]
    if (
        not _is_numeric(column)
        or all(isinstance(value, Integral) for value in column)
        or not finite
    ):
        return [_text(value) for value in column]
    decimals = min(max(3 - math.floor(math.log10(max([1e-4, *finite]))), 0), 6)
    return [f"{value:.{decimals}f}" if math.isfinite(value) else "–" for value in column]


def _is_numeric(column: Sequence[Any]) -> bool:
    return bool(column) and all(_is_number(value) for value in column)


def _picture(picture: Picture) -> str:
    bgr = cv2.cvtColor(np.ascontiguousarray(picture.image), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    encoded = base64.b64encode(data.tobytes()).decode("ascii")
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{encoded}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _config(text: str) -> str:
    if not text:
        return ""
    return f"<details><summary>Configuration</summary><pre>{escape(text)}</pre></details>"


def _environment(environment: Mapping[str, Any]) -> str:
    if not environment:
        return ""
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>"
        for name, value in environment.items()
    )
    return (
        f'<div class="tables"><div class="table"><table><tbody>{rows}</tbody></table></div></div>'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return format_number(float(value)) if _is_number(value) else str(value)
