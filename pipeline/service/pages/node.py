"""One node: how its image is, what goes on for it and what was done, and the buttons that do something."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ...facts.finding import SEVERITIES
from ...history import events, jobs, rejoins
from ...history.events import Wanted
from ...history.jobs import Job
from ...history.records import Event
from ...history.rejoins import Rejoin
from .. import actions
from ..access import require
from ..identity import Identity
from ..job_files import journal_of
from ..journals import Told, told
from ..preflights import can_ask
from ..rendering import page

router = APIRouter(include_in_schema=False)
LATEST = 10
"""So many jobs and events are shown."""


@dataclass(frozen=True, slots=True)
class Done:
    """What is and was done for a node, the newest first; `told` is what its jobs say, by their numbers.

    It is there of those that are not over, and of the newest.
    """

    jobs: list[Job]
    told: Mapping[int, Told]
    events: list[Event]
    rejoin: Rejoin | None


@router.get("/nodes/{node}")
async def show(request: Request, node: str) -> HTMLResponse:
    """All that is known of a node without asking for more."""
    service = request.app.state.service
    row = actions.known(service, node)
    done = await asyncio.to_thread(_done, service.history, node)
    return page(
        request,
        "node.html",
        row=row,
        findings=findings(service.board.classes, row.klass, node),
        done=done,
        can_ask=not service.only_burns and can_ask(service.environment),
    )


@router.post("/nodes/{node}/build")
async def build(
    request: Request, node: str, identity: Annotated[Identity, Depends(require("maintenance"))]
) -> RedirectResponse:
    """Have its image built, and show how that goes."""
    await actions.build(request.app.state.service, node, identity.label)
    return RedirectResponse(f"/nodes/{quote(node, safe='')}", 303)


def findings(classes: Mapping[str, Any], klass: str, node: str) -> list[dict[str, Any]]:
    """The drift of a node, the gravest first."""
    found = [each for each in classes.get(klass, {}).get("findings", ()) if each["node"] == node]
    return sorted(found, key=lambda each: SEVERITIES.index(each["severity"]))


def _done(history: Path, node: str) -> Done:
    found = jobs.latest(history, limit=LATEST, node=node)
    talking = [job for job in found if not job.is_over or job is found[0]]
    said = {job.id: told(journal_of(history, job.id)) for job in talking}
    happened = events.events(history, Wanted(nodes=(node,)), LATEST)
    return Done(found, said, happened, rejoins.last(history, node))
