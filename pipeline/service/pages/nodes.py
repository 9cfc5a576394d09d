"""All nodes: found by name, class and how their images are, page by page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ..board import Row
from ..queries import page_number, part, query
from ..rendering import page

router = APIRouter(include_in_schema=False)
STATES = ("fresh", "stale", "never built")
ONLY_STATE = ("finished",)
"""Where nothing is built."""


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
            self.text.lower() in row.node.lower()
            and self.klass in {"", row.klass}
            and self.state in {"", row.state}
        )

    def query(self, number: int) -> str:
        """The same nodes on another page, as a query."""
        return query(q=self.text, class_=self.klass, state=self.state, page=number)


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
    rows, has_more = chosen(board.rows.values(), wish)
    return page(
        request,
        "nodes.html",
        board=board,
        rows=rows,
        wish=wish,
        has_more=has_more,
        classes=sorted({row.klass for row in board.rows.values()}),
        states=ONLY_STATE if service.only_burns else STATES,
    )
