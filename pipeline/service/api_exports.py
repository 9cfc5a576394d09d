"""Exports for Raspberry Pi Imager, for programs: their links and their ends. Jobs make them (`api_jobs`)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path, Request

from . import actions
from . import api_exports_models as models
from .api import PAGE, OfNode, Serving, routes
from .openapi import POSTED, problems
from .parameters import PageNumber

router = routes("exports", "/exports")
Name = Annotated[
    str, Path(min_length=1, max_length=64, description="`id` of an export", examples=["5f1d7a84db5f2b6c"])
]


@router.get("", operation_id="listExports")
async def exports(service: Serving, node: OfNode = "", page: PageNumber = 1) -> models.ExportPage:
    """Exports, also those that are over, the newest first."""
    found = await asyncio.to_thread(service.exports.listed, node or None, PAGE + 1, skipped=(page - 1) * PAGE)
    now = datetime.now(UTC)
    listed = [models.ExportInFull.of(each, now) for each in found[:PAGE]]
    return models.ExportPage(exports=listed, page=page, has_more=len(found) > PAGE)


@router.post("/{name}/link", operation_id="linkExport", responses=problems(410, *POSTED))
async def link(name: Name, request: Request) -> models.LinkInFull:
    """Make a new link to an open export, with which an earlier one ends. It is told this once."""
    return models.LinkInFull.of(await asyncio.to_thread(actions.link, request, name), datetime.now(UTC))


@router.post("/{name}/revoke", operation_id="revokeExport", responses=problems(410, *POSTED))
async def revoke(service: Serving, name: Name) -> models.ExportInFull:
    """End an export: its link, its file, and whatever download of it runs."""
    now = datetime.now(UTC)
    return models.ExportInFull.of(await asyncio.to_thread(actions.revoke, service, name, now), now)
