"""The queue: what waits, what runs and how far it is, what was done; and the button that stops a job."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ...history import jobs as queue
from ...history.jobs import Job
from .. import actions
from ..access import require
from ..job_files import journal_of
from ..journals import Told, told
from ..parameters import Before, JobNumber
from ..rendering import page

router = APIRouter(include_in_schema=False)
PAGE = 50
ENOUGH = 286
"""For htmx: take this, and ask no more (htmx.org/docs, polling)."""


@router.get("/jobs")
async def jobs(request: Request, before: Before = None) -> HTMLResponse:
    """What was asked for, the newest first."""
    history = request.app.state.service.history
    found = await asyncio.to_thread(queue.latest, history, limit=PAGE + 1, before=before)
    return page(request, "jobs.html", jobs=found[:PAGE], has_more=len(found) > PAGE)


@router.get("/jobs/{number}")
async def job(request: Request, number: JobNumber) -> HTMLResponse:
    """One job, and what it says."""
    history = request.app.state.service.history
    found = await asyncio.to_thread(_look, history, number)
    if found is None:
        raise HTTPException(404, f"no job {number}")
    status = ENOUGH if found[0].is_over and request.headers.get("HX-Target") == "job" else 200
    return page(request, "job.html", status, job=found[0], told=found[1])


@router.get("/jobs/{number}/progress")
async def progress(request: Request, number: int) -> Response:
    """How far a job is, for pages that show it among other things."""
    history = request.app.state.service.history
    found = await asyncio.to_thread(_look, history, number)
    if found is None:
        raise HTTPException(404, f"no job {number}")
    return page(request, "progress.html", ENOUGH if found[0].is_over else 200, job=found[0], told=found[1])


@router.post("/jobs/{number}/cancel", dependencies=[Depends(require("maintenance"))])
async def cancel(request: Request, number: JobNumber) -> RedirectResponse:
    """Take a job back, or have it stop."""
    await actions.cancel(request.app.state.service, number)
    return RedirectResponse(f"/jobs/{number}", 303)


def _look(history: Path, number: int) -> tuple[Job, Told] | None:
    found = queue.get(history, number)
    return None if found is None else (found, told(journal_of(history, number)))
