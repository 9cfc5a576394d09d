"""What the pages show and do, programs may too; and each way in is a row of docs/service.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from pipeline.service.app import API, OF_BUILDS, OF_BURNS, create_app
from pipeline.service.options import Options
from pipeline.service.service import Service

DOCS = (Path(__file__).parents[2] / "docs/service.md").read_text()
AS_PROGRAMS_DO = {
    "GET /nodes": ["listNodes"],
    "GET /nodes/{node}": ["getNode", "listJobs", "listEvents", "listRejoins"],
    "GET /nodes/{node}/plan": ["planNode"],
    "GET /nodes/{node}/changes": ["listEvents", "diffBuilds"],
    "GET /nodes/{node}/preflight": ["preflightNode"],
    "GET /nodes/{node}/burn": ["listCards"],
    "GET /nodes/{node}/exports": ["listExports"],
    "POST /nodes/{node}/build": ["addJob"],
    "POST /nodes/{node}/burn": ["addJob"],
    "POST /nodes/{node}/exports": ["addJob"],
    "POST /exports/{name}/link": ["linkExport"],
    "POST /exports/{name}/revoke": ["revokeExport"],
    "GET /cards": ["listCards"],
    "GET /classes": ["listClasses"],
    "GET /classes/{name}": ["getClass"],
    "GET /classes/{name}/targets": ["listTargets"],
    "GET /recommended": ["recommendTargets"],
    "GET /drift": ["listDrift", "driftHistory"],
    "GET /jobs": ["listJobs"],
    "GET /jobs/{number}": ["getJob", "getLog"],
    "GET /jobs/{number}/progress": ["getLog"],
    "POST /jobs/{number}/cancel": ["cancelJob"],
    "GET /history": ["listEvents"],
    "GET /history/builds/{number}": ["getBuild", "getBurn", "diffBuilds"],
    "GET /history/rejoins": ["listRejoins"],
    "GET /history/audit": ["listActs"],
}
"""Each page and button, and the operations that do the same."""
FOR_PEOPLE = {
    "GET /": "leads to the nodes",
    "GET /burn": "leads to the page of a burn",
    "GET /events": "tells pages that something is otherwise",
}


def routes(*modules: object) -> list[APIRoute]:
    return [each for module in modules for each in module.router.routes]  # type: ignore[attr-defined]


def operations() -> dict[str, APIRoute]:
    return {str(each.operation_id): each for each in routes(*API)}


def named(route: APIRoute) -> list[str]:
    return [f"{method} {route.path}" for method in sorted(route.methods or ())]


def test_every_page_and_button_has_its_operation() -> None:
    there = {name for route in routes(*OF_BURNS, *OF_BUILDS) for name in named(route)}
    assert there == AS_PROGRAMS_DO.keys() | FOR_PEOPLE.keys()
    assert {name for names in AS_PROGRAMS_DO.values() for name in names} == operations().keys()


@pytest.mark.parametrize("page", AS_PROGRAMS_DO)
def test_what_changes_something_by_a_button_does_so_by_its_operation(page: str) -> None:
    method = page.partition(" ")[0]
    assert all(operations()[name].methods == {method} for name in AS_PROGRAMS_DO[page])


def test_every_operation_is_in_the_document() -> None:
    app: FastAPI = create_app(Service(Options(), {}, Path("/nowhere")))
    assert app.openapi()["paths"].keys() == {each.path for each in routes(*API)}


def test_every_operation_is_in_the_documentation_and_nothing_else_is() -> None:
    table = DOCS.partition("| below `/api/v1` |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    told = {path for row in rows for path in re.findall(r"`([^`]+)`", row)}
    there = {re.sub(r"\{\w+\}", "N", each.path.removeprefix("/api/v1")) for each in routes(*API)}
    assert told == there
