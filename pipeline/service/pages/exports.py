"""A node's exports for Raspberry Pi Imager, and the buttons that make one, show its link and end it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from ...errors import MetisError
from ...history.jobs import Wanted
from ...inventory.read import NAME
from .. import imager
from ..access import require, who
from ..imager_list import WARNING
from ..rendering import page

router = APIRouter(include_in_schema=False)
MAY = [Depends(require("maintenance"))]
MOST = 20
GONE = 410


@router.get("/nodes/{node}/exports")
async def exports(node: str, request: Request) -> HTMLResponse:
    """A node's exports, the newest first."""
    found = await asyncio.to_thread(imager.exports_of(request).listed, _name(node), MOST)
    return page(request, "exports.html", node=node, exports=found, now=datetime.now(UTC), warning=WARNING)


@router.post("/nodes/{node}/exports", dependencies=MAY)
async def make(node: str, request: Request) -> Response:
    """Have an export made by a job."""
    wanted = Wanted("export", _name(node), who(request).label)
    job = await request.app.state.service.ask_for(wanted)
    if _wants_json(request):
        return JSONResponse(job.to_data(), 202)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@router.post("/exports/{name}/link", dependencies=MAY)
def show_link(name: str, request: Request) -> Response:
    """Make the link of an open export, and show it this once."""
    try:
        link = imager.link_of(request, name)
    except MetisError as error:
        raise HTTPException(GONE, str(error)) from None
    if _wants_json(request):
        return JSONResponse(link.to_data())
    return page(request, "export_link.html", link=link, warning=WARNING)


@router.post("/exports/{name}/revoke", dependencies=MAY)
def revoke(name: str, request: Request) -> Response:
    """End an export: its link, its file, and whatever download of it runs."""
    export = imager.exports_of(request).revoke(name, datetime.now(UTC))
    if export is None:
        raise HTTPException(GONE, "this export is over")
    if _wants_json(request):
        return JSONResponse(export.to_data())
    return RedirectResponse(f"/nodes/{export.node}/exports", 303)


def _name(node: str) -> str:
    if not NAME.fullmatch(node):
        raise HTTPException(404, "no such node")
    return node


def _wants_json(request: Request) -> bool:
    return request.headers.get("accept", "").startswith("application/json")
