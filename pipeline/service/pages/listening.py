"""The stream on which browsers hear that something is otherwise."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from ..events import Events

router = APIRouter(include_in_schema=False)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second keeps nginx from holding back what is small (ngx_http_proxy_module)."""


@router.get("/events")
async def events(request: Request, since: str = "") -> StreamingResponse:
    """What happens, as long as somebody listens; `since` is what the page knows already.

    A browser that comes back says in a header what it has heard since then (html.spec.whatwg.org, section
    9.2.4).
    """
    told: Events = request.app.state.service.events
    if told.is_full:
        raise HTTPException(503, "too many browsers are listening", {"Retry-After": "30"})
    # Who listens counts from the first byte on, and not from here: a browser may be gone before that.
    stream = told.stream(request.headers.get("Last-Event-ID") or since)
    return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)
