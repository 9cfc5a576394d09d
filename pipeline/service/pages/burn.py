"""A node to a card in three steps: choose the card, type the node's name, press the button."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from .. import actions
from ..access import require, who
from ..identity import Identity
from ..offers import digest
from ..preflights import can_ask
from ..rendering import page
from .cards import UNCHANGED, look

router = APIRouter(include_in_schema=False)
WRONG_NAME, NOT_THERE = 422, 409
"""What was refused with these is told on the page, where it can be put right."""


@router.get("/nodes/{node}/burn")
async def show(request: Request, node: str, card: str = "", seen: str = "") -> Response:
    """The steps, with a card chosen where one is named."""
    return await _steps(request, node, card, seen=seen)


@router.post("/nodes/{node}/burn")
async def burn(
    request: Request,
    node: str,
    identity: Annotated[Identity, Depends(require("maintenance"))],
    card: Annotated[str, Form()] = "",
    confirm: Annotated[str, Form()] = "",
    skips_preflight: Annotated[bool, Form()] = False,
) -> Response:
    """Have it burned to the card that was shown; refused where that is another one by now."""
    wanted = actions.WantedBurn(node, confirm.strip(), card, skips_preflight)
    try:
        job = await actions.burn(request, wanted, identity)
    except HTTPException as refused:
        if refused.status_code not in {WRONG_NAME, NOT_THERE}:
            raise
        return await _steps(request, node, card, said=refused.detail, status=refused.status_code)
    return RedirectResponse(f"/jobs/{job.id}", 303)


async def _steps(
    request: Request, node: str, card: str, *, seen: str = "", said: str = "", status: int = 200
) -> Response:
    service = request.app.state.service
    row = actions.known(service, node)
    shown, complaint = await look(service, afresh=bool(said))
    now = digest(shown, complaint)
    if seen == now and request.headers.get("HX-Request"):
        return Response(status_code=UNCHANGED)
    return page(
        request,
        "burn.html",
        status,
        row=row,
        offers=shown,
        complaint=complaint,
        chosen=card,
        seen=now,
        said=said,
        is_name_wrong=status == WRONG_NAME,
        can_ask=can_ask(service.environment),
        may_skip=actions.may_skip(service, who(request)),
    )
