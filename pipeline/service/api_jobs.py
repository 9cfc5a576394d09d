"""The queue, for programs: what is asked for, how far it is, and what came of it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Body, Query, Request, Response

from ..history import jobs as queue
from . import actions
from . import api_jobs_models as models
from .access import remark
from .api import PAGE, Serving, Who, routes
from .job_files import journal_of
from .journals import told
from .openapi import POSTED, problems
from .parameters import Before, JobNumber

router = routes("jobs", "/jobs")


@router.get("", operation_id="listJobs")
async def jobs(
    service: Serving,
    before: Before = None,
    node: Annotated[str | None, Query(max_length=253, description="Only of this node")] = None,
) -> models.JobPage:
    """What was asked for, the newest first, also what waits and runs."""
    found = await asyncio.to_thread(queue.latest, service.history, limit=PAGE + 1, before=before, node=node)
    page = [models.JobInFull.of(each) for each in found[:PAGE]]
    return models.JobPage(jobs=page, has_more=len(found) > PAGE)


@router.post("", operation_id="addJob", status_code=202, responses=problems(404, *POSTED))
async def add(
    service: Serving,
    who: Who,
    wanted: Annotated[models.WantedJob, Body(openapi_examples=models.WANTED_EXAMPLES)],
    request: Request,
    response: Response,
) -> models.JobInFull:
    """Ask for a build, a burn or an export. Where just the same waits already, that is given."""
    remark(request, f"kind={wanted.kind} node={wanted.node}")
    if isinstance(wanted, models.WantedBuild):
        job = await actions.build(service, wanted.node, who.label)
    elif isinstance(wanted, models.WantedExport):
        job = await actions.export(service, wanted.node, who.label)
    else:
        asked = actions.WantedBurn(wanted.node, wanted.confirm, wanted.card, wanted.skips_preflight)
        job = await actions.burn(request, asked, who)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return models.JobInFull.of(job)


@router.get("/{number}", operation_id="getJob", responses=problems(404))
async def job(service: Serving, number: JobNumber) -> models.JobInFull:
    """One job."""
    return models.JobInFull.of(await actions.job(service, number))


@router.get("/{number}/log", operation_id="getLog", responses=problems(404))
async def log(service: Serving, number: JobNumber) -> models.Log:
    """How far a job is, and what it said last."""
    await actions.job(service, number)
    return models.Log.of(await asyncio.to_thread(told, journal_of(service.history, number)))


@router.post("/{number}/cancel", operation_id="cancelJob", responses=problems(404, *POSTED))
async def cancel(service: Serving, number: JobNumber) -> models.JobInFull:
    """Take a waiting job back, or have a running one stop: it puts things away, and then says so."""
    return models.JobInFull.of(await actions.cancel(service, number))
