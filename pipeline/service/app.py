"""The application: its pages, its programmatic interface, and what stands in front of both."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from . import imager, private_files
from .guard import Guard, noting
from .pages import exports, jobs, listening, nodes
from .rendering import STATIC, page
from .service import Service

ROUTERS = (nodes.router, jobs.router, exports.router, listening.router, imager.router)
LOG = logging.getLogger("metis.service")


def create_app(service: Service) -> FastAPI:
    """The application of one service."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running(lambda error: LOG.error("the background ended: %r", error)):
            yield

    app = FastAPI(
        title="Metis",
        version=version("metis"),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(HTTPException, _failed)
    return app


def guarded(service: Service) -> Guard:
    """The application behind its guard: what a server serves."""
    app = create_app(service)
    key = private_files.key(service.artifacts.state)
    return Guard(app, service.options, key=key, note=noting(service.history))


def _failed(request: Request, error: Exception) -> Response:
    """An error as a page, with a way on."""
    assert isinstance(error, HTTPException)
    return page(request, "error.html", error.status_code, status=error.status_code, said=error.detail)
