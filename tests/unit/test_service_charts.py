"""Charts of whatever figures: well-formed, within their bounds, and true to the figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.charts import LONGEST, Chart, Figure, bars, columns
from pipeline.service.rendering import templates

SERIES = ("day", "low", "high")
SVG = "{http://www.w3.org/2000/svg}"
SLACK = 0.01
"""Of per cent and pixels, which are written with two or three digits."""

amounts = st.floats(0, allow_nan=False, allow_infinity=False) | st.integers(0, 1 << 70).map(float)
of_one = st.lists(st.builds(Figure, st.text(), st.tuples(amounts)), max_size=40)
of_two = st.lists(st.builds(Figure, st.text(), st.tuples(amounts, amounts)), max_size=40)
charts = of_one.map(lambda each: bars("A title", ("Class", "took"), each, str)) | of_two.map(
    lambda each: columns("A title", SERIES, each, str)
)


def drawn(chart: Chart) -> ET.Element:
    """The chart as a page has it, read by a parser that takes nothing that is not well-formed."""
    macro: Any = templates().globals["drawn"]
    return ET.fromstring(str(macro.chart(chart, "it")))


def shown(*values: tuple[float, ...]) -> Chart:
    return columns("A title", SERIES, [Figure(str(place), each) for place, each in enumerate(values)], str)


def heights(chart: Chart, series: str) -> list[float]:
    return [shape.height for shape in chart.shapes if shape.series == series]


def number(text: str | None) -> float:
    assert text is not None
    return float(text.removesuffix("%"))


@given(charts)
def test_a_chart_is_well_formed_and_all_of_it_is_within_its_bounds(chart: Chart) -> None:
    root = drawn(chart)
    for svg in root.iter(f"{SVG}svg"):
        tall = number(svg.get("height"))
        for rect in svg.iter(f"{SVG}rect"):
            x, y, width, height = (number(rect.get(name)) for name in ("x", "y", "width", "height"))
            assert min(x, y, width, height) >= 0
            assert x + width <= 100 + SLACK
            assert y + height <= tall + SLACK
        for text in svg.iter(f"{SVG}text"):
            assert 0 <= number(text.get("x")) <= 100
            assert 0 < number(text.get("y")) <= tall
            assert len(text.text or "") <= LONGEST


@given(charts)
def test_the_figures_of_a_chart_are_beside_it_as_a_table(chart: Chart) -> None:
    rows = drawn(chart).findall(".//tbody/tr")
    assert len(rows) == len(chart.rows)
    for row, words in zip(rows, chart.rows, strict=True):
        assert [cell.text or "" for cell in row] == list(words)


@given(of_two.filter(len))
def test_a_chart_has_a_name_and_says_in_words_what_it_shows(figures: Sequence[Figure]) -> None:
    svg = drawn(columns("A title", SERIES, figures, str)).find(f"{SVG}svg")
    assert svg is not None
    assert svg.get("role") == "img"
    by_id = {each.get("id"): each.text for each in svg}
    assert by_id[svg.get("aria-labelledby")] == "A title"
    told = by_id[svg.get("aria-describedby")] or ""
    assert told.startswith("From ") == (len(figures) > 1)
    assert told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, -1e-300])
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="titan: an amount"):
        Figure("titan", (1.0, value))


@pytest.mark.parametrize("empty", [bars("t", ("a", "b"), [], str), columns("t", SERIES, [], str)])
def test_a_chart_of_nothing_says_so_and_draws_nothing(empty: Chart) -> None:
    root = drawn(empty)
    assert root.find(f"{SVG}svg") is None
    assert [each.text for each in root.iter("p")] == ["Nothing is known yet."]


def test_columns_are_as_high_as_their_figures_and_stand_on_each_other() -> None:
    chart = shown((1, 3), (2, 0))
    assert heights(chart, "low") == pytest.approx([27.5, 55.0])
    assert heights(chart, "high") == pytest.approx([82.5, 0.0])
    low, high = (next(each for each in chart.shapes if each.series == name) for name in SERIES[1:])
    assert high.y + high.height == pytest.approx(low.y)


@pytest.mark.parametrize("count", [2, 3, 12, 500])
def test_the_first_and_the_last_column_stand_where_their_words_do(count: int) -> None:
    found = [shape for shape in shown(*[(1, 1)] * count).shapes if shape.series == "low"]
    assert found[0].x == 0
    assert found[-1].x + found[-1].width == pytest.approx(100)
    assert all(before.x + before.width < after.x for before, after in pairwise(found))


def test_one_figure_is_told_once() -> None:
    assert [word.text for word in shown((1, 3)).words] == ["most 4", "0"]


def test_bars_are_as_long_as_their_figures() -> None:
    chart = bars("t", ("Class", "took"), [Figure("pi", (2.0,)), Figure("pc", (8.0,))], "{} s".format)
    assert [shape.width for shape in chart.shapes] == pytest.approx([25.0, 100.0])
    assert chart.rows == (("pi", "2.0 s"), ("pc", "8.0 s"))
    assert chart.told == "Most: pc, 8.0 s."


def test_figures_of_which_the_sum_is_more_than_a_float_holds_are_drawn() -> None:
    assert heights(shown((1.7e308, 1.7e308)), "low") == pytest.approx([55.0])


def test_a_strangers_words_stay_words() -> None:
    root = drawn(bars("t", ("a", "b"), [Figure("</svg><script>\x00\ud800", (1.0,))], str))
    assert next(each.text for each in root.iter(f"{SVG}text")) == "</svg><script>\\x00\\ud800"
    assert not list(root.iter("script"))
