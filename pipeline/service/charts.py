"""Small charts: where bars and words stand. Pure; `templates/charts.html` draws them.

Across, all stands in per cent of the room there is: so words stay as large as any others, and bars grow with
the window. Downwards it stands in pixels. Colours belong to the style sheet, by the name of a series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from ..errors import one_line

ROW = 44.0
"""Pixels for a bar that lies, with its words above."""
BAR = 14.0
TALL = 110.0
"""Pixels of the highest column."""
LINE = 20.0
"""Pixels for a line of words."""
BASE = 5.0
"""Pixels from the foot of a line to where its letters stand."""
FULL = 100.0
LEAST_PLACES = 12
"""Fewer columns do not become wider, they stand further apart."""
FILLED = 0.75
"""Of its place a column takes so much, where they stand close to each other."""
LONGEST = 30
"""Characters of a label that are drawn; the table has all of it."""

Unit = Callable[[float], str]
"""A value in words."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one bar is of: a value of each series, in their order."""

    label: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(isfinite(value) and value >= 0 for value in self.values):
            raise ValueError(f"{self.label}: an amount is finite and not below 0")


@dataclass(frozen=True, slots=True)
class Shape:
    """A rectangle: `x` and `width` in per cent, `y` and `height` in pixels."""

    series: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Word:
    """Words that begin or end at `x` per cent, and stand on the line that is `y` pixels down."""

    text: str
    x: float
    y: float
    anchor: Literal["start", "end"] = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: `told` says in a sentence what is seen, `heads` and `rows` are its figures as a table."""

    title: str
    told: str
    height: float
    series: tuple[str, ...]
    shapes: tuple[Shape, ...]
    words: tuple[Word, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def bars(title: str, heads: tuple[str, str], figures: Sequence[Figure], unit: Unit) -> Chart:
    """A bar that lies for each figure of one value; `heads` say what labels and values are."""
    lengths = _shares(figures)
    shapes, words = [], []
    for number, (each, (share,)) in enumerate(zip(figures, lengths, strict=True)):
        foot = number * ROW + LINE
        shapes.append(Shape(heads[1], 0, foot, share * FULL, BAR))
        words.append(Word(_cut(each.label), 0, foot - BASE))
        words.append(Word(_cut(unit(each.values[0])), FULL, foot - BASE, "end"))
    told = "Nothing is known yet."
    if figures:
        most = max(figures, key=lambda each: each.values)
        told = one_line(f"Most: {most.label}, {unit(most.values[0])}.")
    rows = _rows(figures, unit)
    return Chart(title, told, ROW * len(figures), heads[1:], tuple(shapes), tuple(words), heads, rows)


def columns(title: str, heads: Sequence[str], figures: Sequence[Figure], unit: Unit) -> Chart:
    """A column for each figure, one after the other, its values on top of each other, the first one lowest.

    `heads` say what labels are, and each series.
    """
    width = FULL / max(len(figures), LEAST_PLACES) * FILLED
    # The first one begins where the chart does and the last one ends there, as the words below them do.
    place = (FULL - width) / max(len(figures) - 1, 1)
    floor = LINE + TALL
    shapes = [Shape("line", 0, LINE, FULL, 1), Shape("line", 0, floor, FULL, 1)]
    for number, shares in enumerate(_shares(figures)):
        foot = floor
        for name, share in zip(heads[1:], shares, strict=True):
            foot -= share * TALL
            shapes.append(Shape(name, number * place, max(foot, 0), width, share * TALL))
    words: list[Word] = []
    told = "Nothing is known yet."
    if figures:
        first, last = figures[0], figures[-1]
        most = max(figures, key=_total)
        words = [
            Word(_cut(f"most {unit(_total(most))}"), 0, LINE - BASE),
            Word(_cut(first.label), 0, floor + LINE - BASE),
        ]
        told = one_line(f"{first.label}: {unit(_total(first))}.")
    if len(figures) > 1:
        words += [
            Word(_cut(f"last {unit(_total(last))}"), FULL, LINE - BASE, "end"),
            Word(_cut(last.label), FULL, floor + LINE - BASE, "end"),
        ]
        told = one_line(
            f"From {first.label} to {last.label}: at most {unit(_total(most))}, at {most.label}, and "
            f"{unit(_total(last))} in the end."
        )
    rows = _rows(figures, unit)
    return Chart(title, told, floor + LINE, tuple(heads[1:]), tuple(shapes), tuple(words), tuple(heads), rows)


def _total(figure: Figure) -> float:
    return sum(figure.values)


def _shares(figures: Iterable[Figure]) -> list[tuple[float, ...]]:
    """Each value as a share of the highest sum; values are made small first, as a sum may be infinite."""
    largest = max((value for each in figures for value in each.values), default=0.0) or 1.0
    small = [tuple(value / largest for value in each.values) for each in figures]
    highest = max((sum(each) for each in small), default=0.0) or 1.0
    return [tuple(value / highest for value in each) for each in small]


def _rows(figures: Iterable[Figure], unit: Unit) -> tuple[tuple[str, ...], ...]:
    return tuple((one_line(each.label), *map(unit, each.values)) for each in figures)


def _cut(text: str) -> str:
    return one_line(text, LONGEST)
