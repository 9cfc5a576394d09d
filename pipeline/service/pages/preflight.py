"""Whether a node would be let back into its cluster: asked when somebody wants to know, never by itself."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from .. import actions
from ..rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/nodes/{node}/preflight")
async def show(request: Request, node: str) -> HTMLResponse:
    """What the cluster says now; it is only asked, nothing is changed."""
    service = request.app.state.service
    found = await actions.preflight(service, node)
    return page(request, "preflight.html", row=actions.known(service, node), found=found)
