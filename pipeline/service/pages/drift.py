"""Where nodes are not what they should be: what was found by how grave it is, and how that came and went."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...facts.finding import SEVERITIES, Severity
from ...facts.show import stamp
from ...history.watches import Past, past
from ..board import Row
from ..charts import Chart, Figure, columns
from ..queries import LONGEST, page_number, part, query
from ..rendering import page

router = APIRouter(include_in_schema=False)
DAYS = 30
"""Days that the chart goes back."""

Found = Mapping[str, Any]
"""A finding as JSON has it."""
Day = tuple[datetime, Mapping[Severity, int]]
"""The end of a day, and how many findings of each severity there were."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which findings to show: `text` is part of a node's name, empty values mean all. Pages count from 1."""

    text: str = ""
    klass: str = ""
    severity: str = ""
    kind: str = ""
    page: int = 1

    def fits(self, finding: Found) -> bool:
        """Whether a finding of a class that is wished for is among them."""
        return (
            self.severity in {"", finding["severity"]}
            and self.kind in {"", finding["kind"]}
            and self.text.lower() in finding["node"].lower()
        )

    def query(self, number: int) -> str:
        """The same findings on another page, as a query."""
        return query(q=self.text, class_=self.klass, severity=self.severity, kind=self.kind, page=number)


@router.get("/drift")
async def drift(request: Request, q: str = "", severity: str = "", kind: str = "") -> HTMLResponse:
    """The findings that are wished for, the gravest first."""
    service = request.app.state.service
    board, given = service.board, request.query_params
    wish = Wish(
        q.strip()[:LONGEST], given.get("class", ""), severity, kind, page_number(given.get("page", ""))
    )
    classes = of_class(board.classes, wish.klass)
    findings, has_more = part(chosen(classes, wish), wish.page)
    now = datetime.now(UTC)
    nodes = concerned(board.rows, wish)
    days = await asyncio.to_thread(by_day, service.history, now, DAYS, nodes, wish.kind)
    return page(
        request,
        "drift.html",
        board=board,
        wish=wish,
        findings=findings,
        has_more=has_more,
        counts={level: sum(each["drift"][level] for each in classes.values()) for level in SEVERITIES},
        drifting=len({each["node"] for found in classes.values() for each in found["findings"]}),
        heard=sum(len(each["seen"]) for each in classes.values()),
        silent=sorted((name, at) for each in classes.values() for name, at in each["silent"].items()),
        not_compared=sorted(name for each in classes.values() for name in each["not_compared"]),
        chart=chart(days),
        kinds=sorted({each["kind"] for found in board.classes.values() for each in found["findings"]}),
        severities=SEVERITIES,
    )


def of_class(classes: Mapping[str, Any], klass: str) -> dict[str, Any]:
    """What was found of one class, or of all without a name."""
    return {name: each for name, each in classes.items() if klass in {"", name}}


def chosen(classes: Mapping[str, Any], wish: Wish) -> Iterator[Found]:
    """The findings that are wished for, the gravest first; those of each class are in that order already."""
    found = merge(*(each["findings"] for each in classes.values()), key=_place)
    return (finding for finding in found if wish.fits(finding))


def _place(finding: Found) -> tuple[int, str]:
    return SEVERITIES.index(finding["severity"]), finding["node"]


def concerned(rows: Mapping[str, Row], wish: Wish) -> list[str] | None:
    """The nodes of which findings are wished for; None for all, also those that there once were."""
    if not (wish.text or wish.klass):
        return None
    text = wish.text.lower()
    return [name for name, row in rows.items() if text in name.lower() and wish.klass in {"", row.klass}]


def by_day(
    history: Path, now: datetime, days: int = DAYS, nodes: Sequence[str] | None = None, kind: str = ""
) -> list[Day]:
    """The last days, the oldest first; those before the first watch are left out.

    Raises MetisError where the history cannot be read.
    """
    before = past(history, now - timedelta(days=days), nodes, kind)
    return list(days_of(before, now, days))


def days_of(before: Past, now: datetime, days: int = DAYS) -> Iterator[Day]:
    """The same of what is known already."""
    for number in reversed(range(days)):
        end = min(now, (now - timedelta(days=number)).replace(hour=23, minute=59, second=59))
        if before.first is not None and before.first <= stamp(end):
            yield end, counted(before, stamp(end))


def chart(days: Iterable[Day]) -> Chart:
    """How many findings there were in the end of each day."""
    figures = [Figure(f"{day:%Y-%m-%d}", tuple(counts.values())) for day, counts in days]
    return columns("Drift over time", ("Day", *SEVERITIES), figures, "{:.0f}".format)


def counted(before: Past, at: str) -> dict[Severity, int]:
    """How many findings of each severity there were at a time."""
    there = [each for each in before.spans if each.since <= at and (each.until is None or each.until > at)]
    return {level: sum(each.findings for each in there if each.severity == level) for level in SEVERITIES}
