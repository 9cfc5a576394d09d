"""The dashboard without Grafana: its panels, what their queries give, and a plain picture of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Formatter
from typing import Any

import httpx

FILE = Path(__file__).parents[2] / "deploy/monitoring/metis.dashboard.json"
COLUMN, ROW, GAP = 50, 34, 8
"""A cell of Grafana's grid in pixels, and what is left free between panels."""
COLOURS = ("#3274d9", "#56a64b", "#e0752d", "#b877d9", "#c4162a", "#8ab8ff", "#f2cc0c", "#447ebc")
POINTS = 120
SCALES: dict[str, tuple[float, str]] = {
    "percentunit": (100, " %"),
    "bytes": (1 / (1 << 20), " MiB"),
    "s": (1, " s"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Prometheus, and how its answers are called."""

    text: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel and its place in cells of the grid."""

    kind: str
    title: str
    queries: tuple[Query, ...]
    unit: str
    place: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """A series of numbers with their moments, each before its number."""

    name: str
    points: tuple[tuple[float, float], ...]


def panels() -> list[Panel]:
    """What the dashboard has, in its order."""
    return [
        Panel(
            kind=each["type"],
            title=each["title"],
            queries=tuple(Query(it["expr"], it.get("legendFormat", "")) for it in each.get("targets", ())),
            unit=each.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
            place=tuple(each["gridPos"][name] for name in "xywh"),
        )
        for each in json.loads(FILE.read_text())["panels"]
    ]


def lines(client: httpx.Client, panel: Panel, start: float, end: float) -> list[Line]:
    """What the queries of a panel give between two moments; the moments from 0 to 1."""
    found = []
    for query in panel.queries:
        step = (end - start) / POINTS
        asked: dict[str, Any] = {"query": query.text, "start": start, "end": end, "step": step}
        for series in client.get("/query_range", params=asked).json()["data"]["result"]:
            points = tuple(
                ((at - start) / (end - start), float(value))
                for at, value in series["values"]
                if value != "NaN"
            )
            found.append(Line(_named(query.legend, series["metric"]), points))
    return found


def _named(legend: str, labels: dict[str, str]) -> str:
    text = legend.replace("{{", "{").replace("}}", "}")
    wanted = {name for _, name, _, _ in Formatter().parse(text) if name}
    return text.format_map({name: labels.get(name, "") for name in wanted}) or " ".join(labels.values())


def drawn(found: Callable[[Panel], Sequence[Line]], caption: str) -> str:
    """The dashboard as an SVG, from what each panel's queries gave."""
    all_panels = panels()
    height = max(y + h for _, y, _, h in (panel.place for panel in all_panels)) * ROW + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN} {height}" '
        'font-family="sans-serif" font-size="11" fill="#222">'
        '<rect width="100%" height="100%" fill="#f4f5f5"/>'
    ]
    for panel in all_panels:
        x, y, w, h = panel.place
        parts.append(f'<svg x="{x * COLUMN}" y="{y * ROW}" width="{w * COLUMN}" height="{h * ROW}">')
        parts += _panel(panel, found(panel), w * COLUMN - GAP, h * ROW - GAP)
        parts.append("</svg>")
    parts.append(f'<text x="4" y="{height - 12}">{escape(caption)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, found: Sequence[Line], width: int, height: int) -> Iterator[str]:
    if panel.kind == "row":
        yield f'<text x="4" y="22" font-size="14" font-weight="bold">{escape(panel.title)}</text>'
        return
    yield f'<rect width="{width}" height="{height}" fill="#fff" stroke="#ddd"/>'
    yield f'<text x="8" y="17" font-weight="bold">{escape(panel.title)}</text>'
    if panel.kind == "stat":
        said = _said(found[0].points[-1][1], panel.unit) if found else "no data"
        yield f'<text x="{width / 2}" y="{height / 2 + 16}" font-size="30" text-anchor="middle">{said}</text>'
    elif panel.kind == "table":
        for number, line in enumerate(found):
            y, said = 40 + 16 * number, _said(line.points[-1][1], panel.unit)
            yield f'<text x="8" y="{y}">{escape(line.name)}</text>'
            yield f'<text x="{width - 8}" y="{y}" text-anchor="end">{said}</text>'
    else:
        yield from _chart(panel, found, width, height)


def _chart(panel: Panel, found: Sequence[Line], width: int, height: int) -> Iterator[str]:
    left, top, right, bottom = 68, 30, width - 10, height - 24 - 14 * ((len(found) + 1) // 2)
    most = max((value for line in found for _, value in line.points), default=0) or 1
    for part in (0, 0.5, 1):
        y, said = bottom - part * (bottom - top), _said(part * most, panel.unit)
        yield f'<path d="M{left} {y:.1f}H{right}" stroke="#e5e5e5"/>'
        yield f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{said}</text>'
    for number, line in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        spots = " ".join(
            f"{left + at * (right - left):.1f},{bottom - value / most * (bottom - top):.1f}"
            for at, value in line.points
        )
        yield f'<polyline points="{spots}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        x, y = 8 + (number % 2) * width // 2, bottom + 22 + 14 * (number // 2)
        yield f'<rect x="{x}" y="{y - 8}" width="10" height="8" fill="{colour}"/>'
        yield f'<text x="{x + 14}" y="{y}">{escape(line.name)}</text>'


def _said(value: float, unit: str) -> str:
    factor, suffix = SCALES.get(unit, (1, ""))
    return f"{value * factor:.4g}{suffix}"
