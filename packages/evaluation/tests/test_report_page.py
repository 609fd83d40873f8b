"""The report page: complete, self-contained, escaped, written at once or not at all."""

import base64
import math
import re

import cv2
import numpy as np
import pytest

from okulo_evaluation.report import Chart, Picture, Series, Table, write_report


def page(tmp_path, **parts) -> str:
    path = tmp_path / "report.html"
    write_report(path, title=parts.pop("title", "A run"), **parts)
    return path.read_text(encoding="utf-8")


def full(tmp_path) -> str:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :, 0] = 255
    return page(
        tmp_path,
        summary={"AP": 51.23456, "steps": 800, "data": "shapes"},
        curves=[Chart(title="Loss", series=[Series("total", (1, 2), (3.0, 2.0))])],
        tables=[Table("Per class", ("class", "AP"), [["cat", 9.5], ["dog", 61.25]])],
        gallery=[Picture(image, "a red picture")],
        config_text="steps: 800",
        environment={"torch": "2.10"},
    )


def test_every_part_is_on_the_page(tmp_path):
    html = full(tmp_path)
    for expected in ("<svg", "51.23", "cat", "a red picture", "steps: 800", "2.10", "<h1>A run<"):
        assert expected in html


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    html = full(tmp_path)
    sources = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']+)", html)
    assert sources
    assert all(s.startswith(("data:image/jpeg;base64,", "#")) for s in sources)
    assert not re.search(r"url\(|@import|https?://|<link", html)


def test_pictures_are_embedded_in_rgb_order(tmp_path):
    data = re.search(r"data:image/jpeg;base64,([^\"]+)", full(tmp_path)).group(1)
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert bgr.shape == (40, 60, 3)
    assert np.abs(bgr.reshape(-1, 3).mean(0) - (0, 0, 255)).max() < 5


def test_both_colour_modes_are_styled(tmp_path):
    assert "prefers-color-scheme: dark" in page(tmp_path)


def test_parts_without_content_are_left_out(tmp_path):
    html = page(tmp_path, tables=[Table("t", ("a",), [[1]])])
    assert re.findall(r'<section id="(\w+)"', html) == ["tables"]
    assert re.findall(r'<a href="#(\w+)"', html) == ["tables"]


def test_text_is_escaped_everywhere(tmp_path):
    evil = "<script>alert('x')</script>&"
    html = page(
        tmp_path,
        title=evil,
        summary={evil: evil},
        tables=[Table(evil, (evil,), [[evil]])],
        gallery=[Picture(np.zeros((2, 2, 3), np.uint8), evil + '" onerror="x')],
        config_text=evil,
        environment={evil: evil},
    )
    assert "<script>alert" not in html
    assert '" onerror="' not in html


def test_numbers_of_a_column_share_their_decimals(tmp_path):
    rows = [["a", 9.5, 3], ["b", 61.25, 10], ["c", math.nan, 2]]
    html = page(tmp_path, tables=[Table("t", ("class", "AP", "n"), rows)])
    cells = re.findall(r'<td class="number">([^<]+)</td>', html)
    assert cells == ["9.50", "3", "61.25", "10", "–", "2"]


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    page(tmp_path, title="old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        page(tmp_path, title="new")
    assert "old" in (tmp_path / "report.html").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), "picture.png"],
    ids=["grey", "float", "empty", "path"],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(ValueError, match=r"uint8 array of shape \(H, W, 3\), got"):
        Picture(image)


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="'t' has 2 columns, got a row of 1"):
        Table("t", ("a", "b"), [["x"]])
