"""The stream on which browsers hear that something is otherwise."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from ..access import who
from ..events import Events, Whose
from ..identity import LOCAL
from ..limits import place

router = APIRouter(include_in_schema=False)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second keeps nginx from holding back what is small (ngx_http_proxy_module)."""
LATER = {"Retry-After": "30"}


@router.get("/events")
async def events(request: Request, since: str = "") -> StreamingResponse:
    """What happens, as long as somebody listens; `since` is what the page knows already.

    A browser that comes back says in a header what it has heard since then (html.spec.whatwg.org, section
    9.2.4).
    """
    told: Events = request.app.state.service.events
    identity = who(request)
    # Where nobody signs in, all have one name, and only from where they come tells them apart.
    whose = Whose("" if identity is LOCAL else identity.name, place(request.state.client))
    if told.is_enough(whose):
        raise HTTPException(429, "too many pages of yours are listening: close some", LATER)
    if told.is_full:
        raise HTTPException(503, "too many browsers are listening", LATER)
    # Who listens counts from the first byte on, and not from here: a browser may be gone before that.
    stream = told.stream(request.headers.get("Last-Event-ID") or since, whose)
    return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)
