"""All nodes: found by name, class and how their images are, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from ...steps.image_state import STATES
from ..access import who
from ..board import Board, Row
from ..queries import page_number, part, query
from ..rendering import macro, page, slot

router = APIRouter(include_in_schema=False)
DRIFTING, SILENT = "drifting", "silent"
"""What nodes may be besides: drift that is more than good to know, and not heard of for long."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which nodes to show: `text` is part of a name, empty values mean all. Pages count from 1."""

    text: str = ""
    klass: str = ""
    state: str = ""
    page: int = 1

    def fits(self, row: Row) -> bool:
        """Whether a node is among them."""
        return (
            (not self.text or self.text.lower() in row.node.lower())
            and self.klass in {"", row.klass}
            and (not self.state or self.state in states_of(row))
        )

    def query(self, number: int) -> str:
        """The same nodes on another page, as a query."""
        return query(q=self.text, class_=self.klass, state=self.state, page=number)


def states_of(row: Row) -> tuple[str, ...]:
    """All that a node is."""
    if not (row.drift or row.is_silent):
        return (row.state,)
    also = {DRIFTING: row.gravest not in {"", "info"}, SILENT: row.is_silent}
    return (row.state, *(name for name, is_so in also.items() if is_so))


@dataclass(frozen=True, slots=True)
class Sum:
    """How many nodes are so; `query` asks for them."""

    name: str
    count: int
    query: str
    is_chosen: bool


def sums(board: Board, wish: Wish) -> list[Sum]:
    """The nodes of a wish in sums, whatever their state; what no node is but by name is left out."""
    of_all = replace(wish, state="", page=1)
    counts = board.once((of_all, "sums"), lambda: _counts(board, of_all))
    names = ("", *(name for name in (*STATES, DRIFTING, SILENT) if counts[name] or name == wish.state))
    return [
        Sum(name or "all", counts[name], replace(wish, state=name).query(1), name == wish.state)
        for name in names
    ]


def _counts(board: Board, wish: Wish) -> Counter[str]:
    """How many nodes are what, and "" for all."""
    found = [row for row in board.rows.values() if wish.fits(row)]
    return Counter(chain([""] * len(found), *map(states_of, found)))


Busy = tuple[str, int, str, str]
"""The node, number, kind and state of a job."""


def chosen(rows: Iterable[Row], wish: Wish) -> tuple[list[Row], bool]:
    """The nodes of a page, and whether there are more behind it."""
    return part((row for row in rows if wish.fits(row)), wish.page)


@router.get("/")
async def home() -> RedirectResponse:
    """The nodes are where everybody begins."""
    return RedirectResponse("/nodes")


@router.get("/nodes")
async def nodes(request: Request, q: str = "", state: str = "") -> HTMLResponse:
    """The nodes that are wished for."""
    service = request.app.state.service
    board = service.board
    number = page_number(request.query_params.get("page", ""))
    wish = Wish(q[:100], request.query_params.get("class", ""), state, number)
    may = who(request).may("maintenance")
    busy = tuple((job.node, job.id, job.kind, job.state) for job in reversed(service.unfinished))
    key = (wish, busy, may, slot())
    is_all = not service.only_burns
    lines, has_more = board.once(key, lambda: _lines(chosen(board.rows.values(), wish), busy, may, is_all))
    return page(
        request,
        "nodes.html",
        board=board,
        lines=lines,
        wish=wish,
        has_more=has_more,
        classes=board.once("classes", lambda: sorted({row.klass for row in board.rows.values()} - {""})),
        sums=sums(board, wish),
        may=may,
    )


def _lines(
    found: tuple[list[Row], bool], busy: Iterable[Busy], may: bool, is_all: bool
) -> tuple[Markup, bool]:
    """The lines of a page as HTML, for all who look at it; `busy` are the unfinished jobs, the first last.

    Without `is_all`, what only builders know of a node is left out.
    """
    rows, has_more = found
    jobs = {job[0]: job for job in busy}
    line = macro("node_line.html", "line")
    return Markup().join(line(row, jobs.get(row.node), may, is_all) for row in rows), has_more
