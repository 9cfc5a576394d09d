"""When nodes came back into their cluster, and how long after the burn."""

from __future__ import annotations

import asyncio
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...amounts import duration
from ...history import rejoins
from ...history.rejoins import Rejoin
from ..queries import LONGEST, PAGE, Before, query
from ..rendering import page
from .history import named

router = APIRouter(include_in_schema=False)


@router.get("/history/rejoins")
async def show(request: Request, q: str = "", before: Before = None) -> HTMLResponse:
    """The rejoins of nodes that have a text in their names, the newest first."""
    service = request.app.state.service
    text = q.strip()[:LONGEST]
    nodes = named(service.board.rows, text)
    found = await asyncio.to_thread(rejoins.rejoins, service.history, nodes, before=before, limit=PAGE + 1)
    lines, more = found[:PAGE], len(found) > PAGE
    return page(
        request,
        "rejoins.html",
        board=service.board,
        text=text,
        before=before,
        rejoins=[each for _number, each in lines],
        next=query(q=text, before=lines[-1][0]) if more else "",
        took=took,
    )


def took(rejoin: Rejoin) -> str:
    """How long it took from the burn to Ready, in words; empty where nobody knows."""
    if rejoin.burned_at is None or rejoin.ready_at is None:
        return ""
    burned, ready = (datetime.fromisoformat(at) for at in (rejoin.burned_at, rejoin.ready_at))
    return duration((ready - burned).total_seconds())
