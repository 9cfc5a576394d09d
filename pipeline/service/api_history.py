"""What was built and burned and seen, for programs: the history of `metis history`, below /api/v1/history."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from fastapi import Depends, HTTPException, Query

from ..amounts import seconds
from ..history import audit, builds, burns, difference, events, rejoins
from ..history.audit import Outcome, Sought
from ..history.difference import Made
from ..history.records import Event, Kind, Verdict
from . import api_history_models as models
from .access import require
from .api import PAGE, OfNode, Serving, routes
from .openapi import problems
from .parameters import Age, Before, EventNumber, OfBuild

router = routes("history", "/history")
PART = 100
"""Characters of a text that is sought."""


@router.get("", operation_id="listEvents")
async def history(
    service: Serving,
    node: OfNode = "",
    kind: Annotated[Kind | None, Query(description="Only of this kind")] = None,
    verdict: Annotated[Verdict | None, Query(description="Only what ended so")] = None,
    before: Before = None,
) -> models.EventPage:
    """What was done for nodes and seen of them, the newest first."""
    wanted = events.Wanted((node,) if node else (), kind, verdict, before=before)
    found = await asyncio.to_thread(events.events, service.history, wanted, PAGE + 1)
    page = [models.EventInFull.model_validate(each.to_data()) for each in found[:PAGE]]
    return models.EventPage(events=page, has_more=len(found) > PAGE)


@router.get("/builds/{number}", operation_id="getBuild", responses=problems(404))
async def build(service: Serving, number: EventNumber) -> models.BuildInFull:
    """A build: what the image was made of."""
    made = await asyncio.to_thread(_made, service.history, number)
    return models.BuildInFull.of(made.build)


@router.get("/burns/{number}", operation_id="getBurn", responses=problems(404))
async def burn(service: Serving, number: EventNumber) -> models.BurnInFull:
    """A burn: which card it was, and what was done to it."""
    await asyncio.to_thread(_known, service.history, number, "burn")
    return models.BurnInFull.of(await asyncio.to_thread(burns.burn, service.history, number))


@router.get("/difference", operation_id="diffBuilds", responses=problems(404, 409))
async def diff(
    service: Serving,
    before: OfBuild,
    after: OfBuild,
) -> models.Difference:
    """What differs between two builds of a node; of a secret only that it is another one."""
    one, other = [await asyncio.to_thread(_made, service.history, number) for number in (before, after)]
    if one.build.event.node != other.build.event.node:
        raise HTTPException(409, "these are builds of two nodes")
    return models.Difference.of(await asyncio.to_thread(difference.difference, one, other))


@router.get("/rejoins", operation_id="listRejoins")
async def rejoined(service: Serving, node: OfNode = "", before: Before = None) -> models.RejoinPage:
    """When nodes came back into their cluster, the newest first."""
    nodes = (node,) if node else ()
    found = await asyncio.to_thread(rejoins.rejoins, service.history, nodes, before=before, limit=PAGE + 1)
    page = [models.RejoinInFull.of(*each) for each in found[:PAGE]]
    return models.RejoinPage(rejoins=page, has_more=len(found) > PAGE)


@router.get("/audit", operation_id="listActs", dependencies=[Depends(require("admin"))])
async def acts(
    service: Serving,
    who: Annotated[str, Query(max_length=PART, description="Part of who did it")] = "",
    what: Annotated[str, Query(max_length=PART, description="Part of what was done")] = "",
    target: Annotated[str, Query(max_length=PART, description="Part of which it was done to")] = "",
    outcome: Annotated[Outcome | None, Query(description="Only what ended so")] = None,
    since: Age = None,
    before: Before = None,
) -> models.ActPage:
    """What was asked for that changes something, the newest first: for admins, so not for the API's token."""
    earliest = None if since is None else datetime.now(UTC) - timedelta(seconds=seconds(since))
    sought = Sought(who, what, target, outcome, earliest, before)
    found = await asyncio.to_thread(audit.acts, service.history, sought, PAGE + 1)
    page = [models.Act.model_validate(each) for each in found[:PAGE]]
    return models.ActPage(acts=page, has_more=len(found) > PAGE)


def _made(history: Path, number: int) -> Made:
    _known(history, number, "build")
    return builds.made(history, number)


def _known(history: Path, number: int, kind: Kind) -> Event:
    """An event of a kind. Raises HTTPException 404 for none."""
    found = events.events(history, events.Wanted(kind=kind, before=number + 1), limit=1)
    if not found or found[0].id != number:
        raise HTTPException(404, f"no {kind} {number} in the history")
    return found[0]
