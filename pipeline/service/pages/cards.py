"""The cards that are plugged into this host, and the way from one of them to a burn."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ...history import jobs
from .. import actions
from ..offers import Offer, digest, offers, waiting
from ..rendering import page
from ..service import Service

router = APIRouter(include_in_schema=False)
LOOKED_AT = 50
"""Jobs among which the last burn of a card is looked for."""
UNCHANGED = 204
"""For htmx: leave the page as it is, with what somebody is about to type (htmx.org/docs, responses)."""


@router.get("/cards")
async def show(request: Request, seen: str = "") -> Response:
    """Which cards there are, unless that is what the page has `seen` already."""
    service = request.app.state.service
    shown, complaint = await look(service)
    now = digest(shown, complaint)
    if seen == now and request.headers.get("HX-Request"):
        return Response(status_code=UNCHANGED)
    rows = service.board.rows
    return page(
        request,
        "cards.html",
        offers=shown,
        complaint=complaint,
        seen=now,
        nodes=sorted(rows),
        waiting=waiting(rows.values()),
    )


@router.get("/burn")
async def choose(request: Request, node: str, card: str = "") -> RedirectResponse:
    """To the page that burns a node, with a card chosen."""
    row = actions.known(request.app.state.service, node.strip())
    return RedirectResponse(f"/nodes/{quote(row.node, safe='')}/burn?{urlencode({'card': card})}", 303)


async def look(service: Service, *, afresh: bool = False) -> tuple[list[Offer], str]:
    """The cards as they are offered, and why nobody can tell, empty where somebody can."""
    seen = await service.card_watch.now(afresh=afresh)
    unfinished = await asyncio.to_thread(jobs.unfinished, service.history)
    latest = await asyncio.to_thread(jobs.latest, service.history, limit=LOOKED_AT)
    return offers(seen.cards, unfinished, service.board.rows, latest), seen.complaint
