"""Charts of the report: what a reader would measure on the drawing is what was given."""

import itertools
import json
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okulo_evaluation.report import Chart, Series
from okulo_evaluation.report.chart import MAX_POINTS, format_number, nice_ticks


def drawing(chart: Chart) -> ElementTree.Element:
    figure = ElementTree.fromstring(chart.to_html())
    svg = figure.find("svg")
    assert svg is not None
    return svg


def polylines(svg: ElementTree.Element) -> list[list[list[tuple[float, float]]]]:
    """For each series its connected stretches of points, in SVG units."""
    return [
        [
            [tuple(map(float, p.split())) for p in stretch.split("L")]
            for stretch in g.find("path").attrib["d"].split("M")[1:]
        ]
        for g in svg.findall("g[@data-values]")
    ]


def test_a_straight_line_is_drawn_straight_and_between_its_ticks():
    svg = drawing(Chart(title="t", series=[Series("a", (0, 50, 100), (0.0, 1.0, 2.0))]))
    ((a, b, c),) = polylines(svg)[0]
    assert b == pytest.approx(((a[0] + c[0]) / 2, (a[1] + c[1]) / 2), abs=0.1)
    y_of = {t.text: float(t.attrib["y"]) for t in svg.findall("text[@class='ytick']")}
    assert a[1] == pytest.approx(y_of["0"], abs=0.1)
    assert c[1] == pytest.approx(y_of["2"], abs=0.1)


def test_values_that_are_not_finite_leave_a_gap():
    values = (1.0, 2.0, math.nan, math.inf, 3.0)
    ((first, second),) = polylines(
        drawing(Chart(title="t", series=[Series("a", range(5), values)]))
    )
    assert (len(first), len(second)) == (2, 1)


@pytest.mark.parametrize("series", [[], [Series("a", (), ())], [Series("a", (1,), (math.nan,))]])
def test_a_chart_without_values_says_so(series):
    svg = drawing(Chart(title="t", series=series))
    assert [t.text for t in svg.findall("text")] == ["no values"]


def test_one_point_and_a_constant_can_be_drawn():
    for series in (Series("a", (7,), (3.0,)), Series("a", (1, 2, 3), (0.0, 0.0, 0.0))):
        points = polylines(drawing(Chart(title="t", series=[series])))[0][0]
        assert all(math.isfinite(v) for point in points for v in point)


def test_long_series_are_thinned_but_keep_their_spikes():
    y = [1.0] * 20_000
    y[12_345] = 9.0
    svg = drawing(Chart(title="t", series=[Series("a", range(20_000), y)]))
    (points,) = polylines(svg)[0]
    assert len(points) <= MAX_POINTS + 2
    values = json.loads(svg.find("g").attrib["data-values"])
    assert [v[1:] for v in values if v[2] != "1"] == [["12345", "9"]]


def test_names_are_escaped():
    chart = Chart(title="a < b & c", series=[Series('<i>"x"', (1, 2), (1, 2))])
    figure = ElementTree.fromstring(chart.to_html())
    assert figure.findtext("figcaption") == "a < b & c"
    assert '<i>"x"' in "".join(figure.find("ul").itertext())


def test_the_legend_shows_the_last_value():
    html = Chart(title="t", series=[Series("a", (1, 2, 3), (5, 0.25, math.nan))]).to_html()
    assert re.search(r"a <b>0\.25</b>", html)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="one y for each x, got 2 x and 1 y"):
        Series("a", (1, 2), (1,))


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6).filter(lambda d: d == 0 or abs(d) > 1e-3),
    st.integers(2, 9),
)
def test_ticks_cover_the_range_evenly_in_round_steps(low, width, count):
    low, high = min(low, low + width), max(low, low + width)
    ticks = nice_ticks(low, high, count)
    step = ticks[1] - ticks[0]
    slack = 1e-6 * max(step, 1e-9) + 1e-9 * max(abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= count + 2
    assert all(b - a == pytest.approx(step, rel=1e-6) for a, b in itertools.pairwise(ticks))
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (800.0, "800"),
        (0.02, "0.02"),
        (61.23456, "61.23"),
        (math.nan, "–"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_are_short(value, text):
    assert format_number(value) == text
