"""The programmatic interface at /api/v1, for scripts and other services: what all its routes have in common.

It does what the pages show and do, by the same code: `api_lab`, `api_jobs`, `api_exports` and `api_history`.
What may be asked and what is answered is in the models beside them, and the document of it all in `openapi`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request

from .access import require
from .asking import Answer
from .identity import Identity
from .openapi import ANYWHERE, problems
from .service import Service

PAGE = 100
"""Findings, jobs, exports and lines of a page."""

Who = Annotated[Identity, Depends(require("maintenance"))]
Node = Annotated[str, Path(min_length=1, max_length=253, description="A node's name", examples=["titan-13"])]
OfClass = Annotated[str, Query(alias="class", max_length=253, description="Only of this class")]
OfNode = Annotated[str, Query(max_length=253, description="Only of this node")]


def served(request: Request) -> Service:
    """The service that a request came to; a dependency."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(served)]


def routes(tag: str, prefix: str = "") -> APIRouter:
    """A part of the interface, for whoever may build, burn and watch."""
    return APIRouter(
        prefix=f"/api/v1{prefix}",
        tags=[tag],
        dependencies=[Depends(require("maintenance"))],
        responses=problems(*ANYWHERE),
    )


def nothing(answer: Answer, what: str) -> HTTPException:
    """What is said where `metis` gave no answer."""
    return HTTPException(503, f"there is no {what}: {'; '.join(answer.complaints)}")
