"""The lab, for programs: nodes, classes, drift and cards, as the pages show them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import HTTPException, Query

from ..facts.finding import Severity
from . import actions
from . import api_class_models as class_models
from . import api_models as models
from .api import PAGE, Node, OfClass, OfNode, Serving, nothing, routes
from .board import FACTS_SINCE, Board
from .openapi import problems
from .pages import classes as of_classes
from .pages import drift as of_drift
from .pages.nodes import Wish, chosen
from .parameters import PageNumber

router = routes("lab")


@router.get("/nodes", operation_id="listNodes")
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


@router.get("/nodes/{node}", operation_id="getNode", responses=problems(404))
async def node(service: Serving, node: Node) -> models.NodeInFull:
    """One node, with its drift."""
    row = actions.known(service, node)
    found = [each for each in _findings(service.board) if each["node"] == node]
    return models.NodeInFull.model_validate(row.to_data() | {"findings": found})


@router.get("/nodes/{node}/plan", operation_id="planNode", responses=problems(404))
async def plan(service: Serving, node: Node) -> models.Plan:
    """What a build of the node would do. It is made for the request, and takes some seconds."""
    actions.known(service, node)
    answer = await service.asking.answer("plan", "--node", node)
    if not answer.data:
        raise nothing(answer, "plan")
    return models.Plan.model_validate(answer.data[0])


@router.get("/nodes/{node}/preflight", operation_id="preflightNode", responses=problems(404))
async def preflight(service: Serving, node: Node) -> models.PreflightInFull:
    """Whether the cluster would let a new card of the node in. It is asked for the request, changes nothing,
    and is 404 where the service knows no cluster.
    """
    found = await actions.preflight(service, node)
    if found.refused is None:
        raise HTTPException(503, f"there is no answer: {'; '.join(found.complaints)}")
    return models.PreflightInFull.of(node, found)


@router.get("/classes", operation_id="listClasses")
async def classes(service: Serving) -> list[class_models.Klass]:
    """The classes that have nodes."""
    board = service.board
    return [class_models.Klass.of(each, board) for each in of_classes.seen(board)]


@router.get("/classes/{name}", operation_id="getClass", responses=problems(404))
async def klass(service: Serving, name: class_models.ClassPath) -> class_models.KlassInFull:
    """One class: its nodes by how their images are, and what they run."""
    return class_models.KlassInFull.of(of_classes.known(service.board, name))


@router.get("/classes/{name}/targets", operation_id="listTargets", responses=problems(404))
async def targets(service: Serving, name: class_models.ClassPath) -> list[class_models.Target]:
    """Which versions the inventory wants the nodes of a class to run, and where that is said."""
    found = of_classes.known(service.board, name)
    answer = await service.asking.answer("config", "--explain", "--node", found.nodes[0])
    if answer.data is None:
        raise nothing(answer, "answer")
    return [
        class_models.Target(of=of, version=version, origin=at)
        for of, version, at in of_classes.wanted(answer.data)
    ]


@router.get("/recommended", operation_id="recommendTargets")
async def recommended(service: Serving) -> class_models.Recommended:
    """What most healthy nodes run, as a patch that makes it the targets of their classes."""
    answer = await service.asking.answer("facts", "--recommend", "--since", FACTS_SINCE)
    if answer.data is None:
        raise nothing(answer, "answer")
    return class_models.Recommended(patch=answer.data["patch"], complaints=list(answer.complaints))


@router.get("/drift", operation_id="listDrift")
async def drift(
    service: Serving,
    klass: OfClass = "",
    severity: Annotated[Severity | None, Query(description="Only as grave as this")] = None,
    node: OfNode = "",
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


@router.get("/drift/history", operation_id="driftHistory")
async def drift_history(
    service: Serving,
    klass: OfClass = "",
    node: OfNode = "",
    kind: Annotated[str, Query(max_length=100, description="Only findings of this kind")] = "",
    days: Annotated[int, Query(ge=1, le=365, description="Days to go back")] = of_drift.DAYS,
) -> list[models.DriftDay]:
    """How many findings there were in the end of each day, the oldest first, since somebody has watched."""
    now = datetime.now(UTC)
    rows = service.board.rows
    names = None
    if node or klass:
        names = [name for name, row in rows.items() if node in {"", name} and klass in {"", row.klass}]
    found = await asyncio.to_thread(of_drift.by_day, service.history, now, days, names, kind)
    return [models.DriftDay.of(*each) for each in found]


@router.get("/cards", operation_id="listCards")
async def cards(service: Serving) -> list[models.Card]:
    """The cards that are plugged into this host now. It is looked for the request."""
    return [models.Card.of(each) for each in await service.cards()]


def _findings(board: Board, klass: str = "") -> Iterator[Mapping[str, Any]]:
    for about in of_drift.of_class(board.classes, klass).values():
        yield from about["findings"]
