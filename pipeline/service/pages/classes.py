"""The classes: how the images of their nodes are, what most of these run, and what is recommended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from ...facts.finding import SEVERITIES
from ...steps.image_state import STATES
from ..board import FACTS_SINCE, Board, Row
from ..rendering import page

router = APIRouter(include_in_schema=False)
TARGETS = "targets."


@dataclass(frozen=True, slots=True)
class Runs:
    """Which version of something most nodes have, None where there is no such one, and which nodes another.

    `nodes` is how many say what they have.
    """

    what: str
    most: str | None
    nodes: int
    others: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def with_most(self) -> int:
        """How many have the version of most."""
        return self.nodes - sum(len(names) for _version, names in self.others)


@dataclass(frozen=True, slots=True)
class Class:
    """A class at a glance: its nodes by how their images are, and what was heard of them."""

    name: str
    images: Mapping[str, tuple[str, ...]]
    heard: int
    drift: Mapping[str, int]
    versions: tuple[Runs, ...] = ()
    packages: tuple[Runs, ...] = ()
    failed_units: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """All of its nodes."""
        return tuple(chain.from_iterable(self.images.values()))

    @property
    def differing(self) -> tuple[Runs, ...]:
        """The packages that not all of its nodes have in one version."""
        return tuple(each for each in self.packages if each.others)


@router.get("/classes")
async def classes(request: Request) -> HTMLResponse:
    """All classes that nodes are of."""
    board = request.app.state.service.board
    return page(request, "classes.html", board=board, classes=list(seen(board)))


@router.get("/classes/{name}")
async def show(request: Request, name: str) -> HTMLResponse:
    """One class, with what its nodes run."""
    board = request.app.state.service.board
    return page(request, "class.html", board=board, klass=known(board, name))


@router.get("/classes/{name}/targets")
async def targets(request: Request, name: str) -> HTMLResponse:
    """Which versions the inventory wants the nodes of a class to run, and where that is said."""
    service = request.app.state.service
    klass = known(service.board, name)
    answer = await service.asking.answer("config", "--explain", "--node", klass.nodes[0])
    found = list(wanted(answer.data or {}))
    return page(request, "targets.html", klass=klass, targets=found, complaints=answer.complaints)


@router.get("/recommended")
async def recommended(request: Request) -> HTMLResponse:
    """What most healthy nodes run, as a patch that makes it the targets of their classes."""
    answer = await request.app.state.service.asking.answer("facts", "--recommend", "--since", FACTS_SINCE)
    patch = answer.data["patch"] if answer.data else ""
    return page(request, "recommended.html", patch=patch, complaints=answer.complaints)


def known(board: Board, name: str) -> Class:
    """A class by its name. Raises HTTPException."""
    found = next((each for each in seen(board) if each.name == name), None)
    if found is None:
        raise HTTPException(404, f"no node is of a class {name}")
    return found


def seen(board: Board) -> Iterator[Class]:
    """The classes that nodes are of, by name; a node whose file cannot be read is of none."""
    rows: dict[str, list[Row]] = {}
    for row in (row for row in board.rows.values() if row.klass):
        rows.setdefault(row.klass, []).append(row)
    for name in sorted(rows):
        facts = board.classes.get(name, {})
        yield Class(
            name,
            _by_state(rows[name]),
            len(facts.get("seen", ())),
            {level: count for level in SEVERITIES if (count := facts.get("drift", {}).get(level))},
            tuple(_runs(facts.get("versions", {}))),
            tuple(_runs(facts.get("packages", {}))),
            tuple((node, tuple(units)) for node, units in sorted(facts.get("failed_units", {}).items())),
        )


def _by_state(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {state: [] for state in STATES}
    for row in rows:
        found.setdefault(row.state, []).append(row.node)
    return {state: tuple(nodes) for state, nodes in found.items() if nodes}


def _runs(tallies: Mapping[str, Any]) -> Iterator[Runs]:
    for what, found in tallies.items():
        groups = {version: tuple(names) for version, names in found["nodes"].items()}
        others = tuple((version, names) for version, names in groups.items() if version != found["majority"])
        yield Runs(what, found["majority"], sum(map(len, groups.values())), others)


def wanted(explained: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The targets of a node: of what, which version, and the file and line that say so."""
    for path, about in explained.items():
        if path.startswith(TARGETS):
            what = path.removeprefix(TARGETS).removeprefix("packages.")
            yield what, str(about["value"]), str(about["origin"])
