"""The application: its pages, its programmatic interface, and what stands in front of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.staticfiles import StaticFiles

from . import (
    api_exports,
    api_history,
    api_jobs,
    api_lab,
    health,
    imager,
    metrics,
    private_files,
    problems,
    sentinel,
)
from .guard import Guard, beginning, noting
from .openapi import Application
from .pages import (
    audit,
    burn,
    cards,
    changes,
    classes,
    difference,
    drift,
    exports,
    history,
    jobs,
    listening,
    node,
    nodes,
    plan,
    preflight,
    rejoins,
)
from .rendering import STATIC
from .service import Service

OF_BURNS = (nodes, node, burn, cards, jobs, history, audit, listening)
OF_BUILDS = (plan, changes, preflight, classes, drift, difference, rejoins, exports)
"""Pages that there is nothing for where nothing is built."""
API = (api_lab, api_jobs, api_exports, api_history)
FOR_PROGRAMS = (imager, *API, sentinel, health, metrics)


def create_app(service: Service) -> FastAPI:
    """The application of one service."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = Application(
        title="Metis",
        version=version("metis"),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(_heard)],
    )
    app.state.service = service
    for each in OF_BUILDS:
        app.include_router(each.router, dependencies=[Depends(_built_here)])
    for each in (*OF_BURNS, *FOR_PROGRAMS):
        app.include_router(each.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    problems.install(app)
    return app


def guarded(service: Service) -> Guard:
    """The application behind its guard: what a server serves."""
    app = create_app(service)
    key = private_files.key(service.artifacts.state)
    history = service.history
    return Guard(app, service.options, key=key, note=noting(history), begin=beginning(history))


async def _built_here(request: Request) -> None:
    """Answer 404 where nothing is built."""
    if request.app.state.service.only_burns:
        raise HTTPException(404, request.app.state.service.only_burns)


async def _heard(request: Request) -> None:
    """Note what a page will know at least: what happens while it is made is told to it afterwards."""
    request.state.heard = request.app.state.service.events.at
