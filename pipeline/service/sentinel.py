"""What sentinels and other services send: snapshots of nodes, and the call to look what changed.

The statuses are those that `metis_sentinel.push` knows: what can never be taken is 422 or 413, and is set
aside on the node; anything else waits there and comes again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse

from ..errors import MetisError
from ..facts.keeping import keep
from ..facts.reading import AHEAD
from ..facts.snapshot import LARGEST, Snapshot, parse
from .actions import known
from .service import Service

router = APIRouter(prefix="/internal/sentinel", include_in_schema=False)


@router.post("/snapshot")
async def snapshot(request: Request) -> JSONResponse:
    """Keep a snapshot: 201, or 200 for one that came before."""
    service: Service = request.app.state.service
    data = await _body(request)
    key = request.headers.get("Idempotency-Key")
    found = await asyncio.get_running_loop().run_in_executor(service.understanding, _understood, data, key)
    known(service, found.node)
    is_new = await asyncio.to_thread(keep, service.artifacts.snapshots, found, data)
    if is_new:
        service.look_again_soon()
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return JSONResponse({"node": found.node, "id": found.id, "new": is_new}, status)


@router.post("/watch")
async def watch(request: Request) -> dict[str, Any]:
    """Compare all nodes anew, keep what was found, say what changed; who asks meanwhile hears the same."""
    service: Service = request.app.state.service
    answer = await service.watch()
    if answer.data is None:
        raise MetisError("; ".join(answer.complaints))
    service.look_again()
    return {**answer.data, "complaints": list(answer.complaints)}


async def _body(request: Request) -> bytes:
    """All of it, as far as a snapshot may go; the guard has the same bound, and reads no more either."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a snapshot is application/json")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a snapshot has {LARGEST >> 20} MiB at most"
            )
    return bytes(data)


def _understood(data: bytes, key: str | None) -> Snapshot:
    try:
        found = parse(data)
    except MetisError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"what was sent {error}") from None
    if key not in {None, found.id}:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key is not the id of the snapshot")
    if found.at > datetime.now(UTC) + AHEAD:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "its time has not come: set the node's clock")
    return found
