"""One build, held against another one of the same node: the one before, unless somebody chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from ...errors import UsageError
from ...history.builds import made
from ...history.difference import Difference, Made, difference
from ...history.events import Wanted, events
from ...history.records import Event
from ..queries import HIGHEST, Number
from ..rendering import page

router = APIRouter(include_in_schema=False)
CHOICES = 50
"""Builds among which one may choose, the newest."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A build, the one that it is held against, None where there is none, and those that it could be."""

    this: Made
    other: Made | None
    choices: Sequence[Event]
    found: Difference | None = None


@router.get("/history/builds/{number}")
async def show(
    request: Request,
    number: Number,
    against: Annotated[int | None, Query(alias="with", ge=1, le=HIGHEST)] = None,
) -> HTMLResponse:
    """A build of this number, held against another one."""
    service = request.app.state.service
    pair = await asyncio.to_thread(_look, service.history, number, against)
    return page(request, "build.html", board=service.board, pair=pair)


def _look(history: Path, number: int, against: int | None) -> Pair:
    this = _made(history, number)
    node = this.build.event.node
    builds = events(history, Wanted(nodes=(node,), kind="build"), CHOICES)
    choices = [each for each in builds if each.id != number]
    other_one = against or before(choices, number)
    other = None if other_one is None else _made(history, other_one)
    if other is None:
        return Pair(this, None, choices)
    if other.build.event.node != node:
        raise HTTPException(422, f"build {other_one} is one of {other.build.event.node}, not of {node}")
    first, second = sorted((this, other), key=lambda each: each.build.event.id)
    return Pair(this, other, choices, difference(first, second))


def before(builds: Sequence[Event], number: int) -> int | None:
    """The number of the last build before one that made an image; the newest come first."""
    return next((each.id for each in builds if each.id < number and each.verdict == "built"), None)


def _made(history: Path, number: int) -> Made:
    try:
        return made(history, number)
    except UsageError:
        raise HTTPException(404, f"the history has no build {number}") from None
