"""The application: its pages, its programmatic interface, and what stands in front of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI, Request
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

OF_NODES = (nodes, node, plan, changes, preflight, burn, cards, classes, drift)
OF_WHAT_HAPPENED = (jobs, history, difference, rejoins, audit)
PAGES = (*OF_NODES, *OF_WHAT_HAPPENED, exports, listening)
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
    for each in (*PAGES, *FOR_PROGRAMS):
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


async def _heard(request: Request) -> None:
    """Note what a page will know at least: what happens while it is made is told to it afterwards."""
    request.state.heard = request.app.state.service.events.at
