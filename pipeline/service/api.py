"""The programmatic interface: what the pages show and do, at /api/v1, for scripts and other services.

What may be asked and what is answered is in `api_models`, and the document of it all in `openapi`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Request, Response

from ..facts.finding import Severity
from ..history import jobs as queue
from . import actions
from . import api_models as models
from .access import require
from .board import Board
from .identity import Identity
from .job_files import journal_of
from .journals import told
from .openapi import ANYWHERE, POSTED, problems
from .pages.nodes import Wish, chosen
from .parameters import Before, JobNumber, PageNumber
from .service import Service

PAGE = 100
"""Findings and jobs of a page."""

Who = Annotated[Identity, Depends(require("maintenance"))]
Node = Annotated[str, Path(min_length=1, max_length=253, description="A node's name", examples=["titan-13"])]
OfClass = Annotated[str, Query(alias="class", max_length=253, description="Only of this class")]


def served(request: Request) -> Service:
    """The service that a request came to; a dependency."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(served)]
router = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(require("maintenance"))],
    responses=problems(*ANYWHERE),
)


# -------------------------------------------------------------------------------------------- the lab


@router.get("/nodes", operation_id="listNodes", tags=["lab"])
async def nodes(
    service: Serving,
    q: Annotated[str, Query(max_length=100, description="Part of a name")] = "",
    klass: OfClass = "",
    state: Annotated[models.ImageState | None, Query(description="Only with images like this")] = None,
    page: PageNumber = 1,
) -> models.NodePage:
    """The nodes of the inventory: their images, when they were burned and heard of, and their drift."""
    board = service.board
    rows, has_more = chosen(board.rows.values(), Wish(q, klass, state or "", page))
    found = [models.Node.of(row) for row in rows]
    return models.NodePage(
        at=board.at, nodes=found, page=page, has_more=has_more, complaints=list(board.complaints)
    )


@router.get("/nodes/{node}", operation_id="getNode", tags=["lab"], responses=problems(404))
async def node(service: Serving, node: Node) -> models.NodeInFull:
    """One node, with its drift."""
    row = actions.known(service, node)
    found = [each for each in _findings(service.board) if each["node"] == node]
    return models.NodeInFull.model_validate(row.to_data() | {"findings": found})


@router.get("/nodes/{node}/plan", operation_id="planNode", tags=["lab"], responses=problems(404))
async def plan(service: Serving, node: Node) -> models.Plan:
    """What a build of the node would do. It is made for the request, and takes some seconds."""
    actions.known(service, node)
    answer = await service.asking.answer("plan", "--node", node)
    if not answer.data:
        raise HTTPException(503, f"there is no plan: {'; '.join(answer.complaints)}")
    return models.Plan.model_validate(answer.data[0])


@router.get("/classes", operation_id="listClasses", tags=["lab"])
async def classes(service: Serving) -> list[models.Klass]:
    """The classes that have nodes."""
    return [
        _klass(name, service.board) for name in sorted({row.klass for row in service.board.rows.values()})
    ]


@router.get("/drift", operation_id="listDrift", tags=["lab"])
async def drift(
    service: Serving,
    klass: OfClass = "",
    severity: Annotated[Severity | None, Query(description="Only as grave as this")] = None,
    node: Annotated[str, Query(max_length=253, description="Only of this node")] = "",
    page: PageNumber = 1,
) -> models.DriftPage:
    """How the nodes that were heard of are not what the inventory says."""
    fitting = (
        each
        for each in _findings(service.board, klass)
        if severity in {None, each["severity"]} and node in {"", each["node"]}
    )
    first = (page - 1) * PAGE
    found = list(islice(fitting, first, first + PAGE + 1))
    return models.DriftPage(
        at=service.board.at,
        findings=models.findings(found[:PAGE]),
        page=page,
        has_more=len(found) > PAGE,
        strangers=list(service.board.strangers),
    )


@router.get("/cards", operation_id="listCards", tags=["lab"])
async def cards(service: Serving) -> list[models.Card]:
    """The cards that are plugged into this host now. It is looked for the request."""
    return [models.Card.of(each) for each in await service.cards()]


def _findings(board: Board, klass: str = "") -> Iterator[Mapping[str, Any]]:
    for name, about in board.classes.items():
        if klass in {"", name}:
            yield from about["findings"]


def _klass(name: str, board: Board) -> models.Klass:
    rows = [row for row in board.rows.values() if row.klass == name]
    about = board.classes.get(name, {})
    return models.Klass.model_validate(
        {
            "name": name,
            "nodes": len(rows),
            "images": dict(Counter(row.state for row in rows)),
            "drift": about.get("drift", {}),
            "silent": sum(row.is_silent for row in rows),
            "versions": {what: found["majority"] for what, found in about.get("versions", {}).items()},
        }
    )


# --------------------------------------------------------------------------------------------- jobs


@router.get("/jobs", operation_id="listJobs", tags=["jobs"])
async def jobs(
    service: Serving,
    before: Before = None,
    node: Annotated[str | None, Query(max_length=253, description="Only of this node")] = None,
) -> models.JobPage:
    """What was asked for, the newest first, also what waits and runs."""
    found = await asyncio.to_thread(queue.latest, service.history, limit=PAGE + 1, before=before, node=node)
    return models.JobPage(jobs=_in_full(found[:PAGE]), has_more=len(found) > PAGE)


@router.post("/jobs", operation_id="addJob", tags=["jobs"], status_code=202, responses=problems(404, *POSTED))
async def add(
    service: Serving,
    who: Who,
    wanted: Annotated[models.WantedJob, Body(openapi_examples=models.WANTED_EXAMPLES)],
    response: Response,
) -> models.JobInFull:
    """Ask for a build or a burn. Where just the same waits already, that is given."""
    if isinstance(wanted, models.WantedBuild):
        job = await actions.build(service, wanted.node, who.label)
    else:
        job = await actions.burn(service, wanted.node, wanted.confirm, wanted.card, who.label)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return models.JobInFull.of(job)


@router.get("/jobs/{number}", operation_id="getJob", tags=["jobs"], responses=problems(404))
async def job(service: Serving, number: JobNumber) -> models.JobInFull:
    """One job."""
    return models.JobInFull.of(await actions.job(service, number))


@router.get("/jobs/{number}/log", operation_id="getLog", tags=["jobs"], responses=problems(404))
async def log(service: Serving, number: JobNumber) -> models.Log:
    """How far a job is, and what it said last."""
    await actions.job(service, number)
    return models.Log.of(await asyncio.to_thread(told, journal_of(service.history, number)))


@router.post(
    "/jobs/{number}/cancel", operation_id="cancelJob", tags=["jobs"], responses=problems(404, *POSTED)
)
async def cancel(service: Serving, number: JobNumber) -> models.JobInFull:
    """Take a waiting job back, or have a running one stop: it puts things away, and then says so."""
    return models.JobInFull.of(await actions.cancel(service, number))


def _in_full(found: Sequence[queue.Job]) -> list[models.JobInFull]:
    return [models.JobInFull.of(each) for each in found]
