"""The stream on which browsers hear that something is otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from ..events import TooManyError

router = APIRouter(include_in_schema=False)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second keeps nginx from holding back what is small (ngx_http_proxy_module)."""


@router.get("/events")
async def events(request: Request) -> StreamingResponse:
    """What happens, as long as somebody listens."""
    stream = request.app.state.service.events.stream()
    try:
        chunks = await stream.__aenter__()
    except TooManyError:
        raise HTTPException(503, "too many browsers are listening", {"Retry-After": "30"}) from None

    async def told() -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await stream.__aexit__(None, None, None)

    return StreamingResponse(told(), media_type="text/event-stream", headers=HEADERS)
