"""A node's exports for Raspberry Pi Imager, and the buttons that make one, show its link and end it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ...inventory.read import NAME
from .. import actions, imager
from ..access import require
from ..identity import Identity
from ..imager_list import WARNING
from ..rendering import page

router = APIRouter(include_in_schema=False)
May = Depends(require("maintenance"))
MOST = 20


@router.get("/nodes/{node}/exports")
async def exports(node: str, request: Request) -> HTMLResponse:
    """A node's exports, the newest first."""
    found = await asyncio.to_thread(imager.exports_of(request).listed, _name(node), MOST)
    return page(request, "exports.html", node=node, exports=found, now=datetime.now(UTC), warning=WARNING)


@router.post("/nodes/{node}/exports")
async def make(node: str, request: Request, identity: Annotated[Identity, May]) -> RedirectResponse:
    """Have an export made by a job."""
    job = await actions.export(request.app.state.service, node, identity.label)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@router.post("/exports/{name}/link", dependencies=[May])
def show_link(name: str, request: Request) -> HTMLResponse:
    """Make the link of an open export, and show it this once."""
    return page(request, "export_link.html", link=actions.link(request, name), warning=WARNING)


@router.post("/exports/{name}/revoke", dependencies=[May])
def revoke(name: str, request: Request) -> RedirectResponse:
    """End an export: its link, its file, and whatever download of it runs."""
    export = actions.revoke(request.app.state.service, name, datetime.now(UTC))
    return RedirectResponse(f"/nodes/{quote(export.node, safe='')}/exports", 303)


def _name(node: str) -> str:
    if not NAME.fullmatch(node):
        raise HTTPException(404, "no such node")
    return node
