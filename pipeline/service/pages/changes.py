"""What the last build of a node changed: its image held against the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...history.builds import made
from ...history.difference import Difference, difference
from ...history.events import Wanted, events
from ...history.records import Event
from .. import actions
from ..rendering import page

router = APIRouter(include_in_schema=False)
LOOKED_AT = 50
"""Builds among which another image is looked for."""


@router.get("/nodes/{node}/changes")
async def show(request: Request, node: str) -> HTMLResponse:
    """What differs between the last two images of a node."""
    service = request.app.state.service
    row = actions.known(service, node)
    found = await asyncio.to_thread(_found, service.history, row.node)
    return page(request, "changes.html", row=row, found=found)


def _found(history: Path, node: str) -> Difference | None:
    pair = last_two(events(history, Wanted(nodes=(node,), kind="build", verdict="built"), LOOKED_AT))
    return difference(*(made(history, each.id) for each in pair)) if pair else None


def last_two(builds: Sequence[Event]) -> tuple[Event, Event] | None:
    """The build of the last image and the last one of another image, the older first; newest first given."""
    for build in builds[1:]:
        if build.image != builds[0].image:
            return build, builds[0]
    return None
