"""Whether the service lives, and whether it can do its work; for systemd, Kubernetes and load balancers."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from .service import Service

router = APIRouter(include_in_schema=False)
PATIENCE = 5.0
"""Seconds after which a look counts as failed: who asks does not wait much longer."""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """That it answers. Who starts it anew for less would do so while a disk is full, for nothing."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether jobs can be queued and done and pages have something to show, else 503 with the reasons."""
    service: Service = request.app.state.service
    try:
        reasons = await asyncio.wait_for(service.reasons.get(), PATIENCE)
    except TimeoutError:
        reasons = ("the history cannot be written: somebody else writes to it all the time",)
    status = {"status": "not ready" if reasons else "ready", "reasons": list(reasons)}
    return JSONResponse(status, 503 if reasons else 200, {"Retry-After": "5"} if reasons else None)
