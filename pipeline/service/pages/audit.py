"""Who did what: for admins alone, since it says from where people came."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from ...history import audit
from ..access import require
from ..queries import PAGE, Before, query
from ..rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/history/audit", dependencies=[Depends(require("admin"))])
async def show(request: Request, before: Before = None) -> HTMLResponse:
    """What people asked for that changes something, the newest first."""
    history = request.app.state.service.history
    found = await asyncio.to_thread(audit.acts, history, before=before, limit=PAGE + 1)
    lines, more = found[:PAGE], len(found) > PAGE
    following = query(before=lines[-1]["id"]) if more else ""
    return page(request, "audit.html", acts=lines, before=before, next=following)
