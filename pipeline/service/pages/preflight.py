"""Whether a node would be let back into its cluster: asked when somebody wants to know, never by itself."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from .. import actions
from ..preflights import can_ask, preflight
from ..rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/nodes/{node}/preflight")
async def show(request: Request, node: str) -> HTMLResponse:
    """What the cluster says now; it is only asked, nothing is changed."""
    service = request.app.state.service
    row = actions.known(service, node)
    if not can_ask(service.environment):
        raise HTTPException(404, "no cluster is named here: start the service with KUBECONFIG set")
    found = preflight(await service.asking.answer("preflight", "--node", row.node))
    return page(request, "preflight.html", row=row, found=found)
