"""What was built and burned, and what sentinels showed, the newest first; and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...amounts import duration, seconds
from ...history import events
from ...history.events import Wanted
from ...history.records import KINDS, Event, Kind, Verdict
from ..charts import Chart, Figure, bars, columns
from ..queries import LONGEST, PAGE, Before, query
from ..rendering import page

router = APIRouter(include_in_schema=False)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
AGES = {"1d": "a day", "7d": "a week", "30d": "30 days", "365d": "a year"}
WELL: dict[Kind, Verdict] = {"build": "built", "burn": "burned"}
LATEST = 500
"""So many builds, or burns, are looked at to say how long they take."""
MOST_BARS = 12
MOST_COLUMNS = 40
ENOUGH = 120.0
"""Seconds from which on tenths say nothing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which events to show: `text` is part of a node's name, empty values mean all."""

    text: str = ""
    kind: str = ""
    verdict: str = ""
    since: str = ""

    def wanted(self, known: Iterable[str], now: datetime, before: int | None = None) -> Wanted:
        """The same for the history: of what is no kind, verdict or age there are all.

        `known` are the nodes of the inventory; others that the history has are found by their whole name.
        """
        return Wanted(
            nodes=named(known, self.text),
            kind=next((each for each in KINDS if each == self.kind), None),
            verdict=next((each for each in VERDICTS if each == self.verdict), None),
            since=earliest(self.since, now),
            before=before,
        )

    def query(self, before: int | None = None) -> str:
        """The same events, those that are older than one, as a query."""
        return query(q=self.text, kind=self.kind, verdict=self.verdict, since=self.since, before=before)


def earliest(age: str, now: datetime) -> datetime | None:
    """The time that is so long ago, None for what is no age that may be chosen."""
    return now - timedelta(seconds=seconds(age)) if age in AGES else None


def named(known: Iterable[str], text: str) -> tuple[str, ...]:
    """The nodes that have a text in their names, and what has it as its name; none without a text."""
    return tuple(sorted({text, *(name for name in known if text.lower() in name.lower())})) if text else ()


@router.get("/history")
async def history(
    request: Request,
    q: str = "",
    kind: str = "",
    verdict: str = "",
    since: str = "",
    before: Before = None,
) -> HTMLResponse:
    """The events that are wished for."""
    service = request.app.state.service
    wish = Wish(q.strip()[:LONGEST], kind, verdict, since)
    wanted = wish.wanted(service.board.rows, datetime.now(UTC), before)
    found, done = await asyncio.to_thread(_look, service.history, wanted)
    return page(
        request,
        "history.html",
        board=service.board,
        wish=wish,
        before=before,
        events=found[:PAGE],
        has_more=len(found) > PAGE,
        chart=times(done) if done else None,
        kinds=KINDS,
        verdicts=VERDICTS,
        ages=AGES,
        took=took,
    )


def _look(history: Path, wanted: Wanted) -> tuple[list[Event], list[Event]]:
    """The events of a page with one more; and, if builds or burns are among them, the last that went well."""
    kind = wanted.kind or "build"
    done: list[Event] = []
    if kind in WELL:
        done = events.events(history, replace(wanted, kind=kind, verdict=WELL[kind], before=None), LATEST)
    return events.events(history, wanted, PAGE + 1), done


def times(done: Sequence[Event]) -> Chart:
    """How long it took: of one node each time, of several by class what half of it took at most.

    The events are of one kind, the newest first, and at least one.
    """
    if len({each.node for each in done}) == 1:
        figures = [Figure(_minute(each.at), (max(0.0, each.seconds),)) for each in done[:MOST_COLUMNS]]
        title = f"How long each {done[0].kind} of {done[0].node} took"
        return columns(title, ("Began, UTC", "took"), figures[::-1], took)
    classes: dict[str, list[float]] = {}
    for each in done:
        classes.setdefault(each.klass, []).append(max(0.0, each.seconds))
    found = [Figure(name, (median(values),)) for name, values in classes.items()]
    found.sort(key=lambda each: each.values, reverse=True)
    title = f"How long a {done[0].kind} takes: the median of the last {len(done)}"
    return bars(title, ("Class", "took"), found[:MOST_BARS], took)


def took(length: float) -> str:
    """How long something took, in seconds, in words."""
    return f"{length:.1f} s" if length < ENOUGH else duration(length)


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
