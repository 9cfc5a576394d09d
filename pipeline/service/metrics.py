"""`/metrics`: what Prometheus scrapes. All of it is looked at for the answer, and nothing of it is secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric

from ..cache.contents import contents
from ..cache.store import Store
from ..errors import MetisError, from_os
from ..history import events, jobs
from ..machine.progress import QuietReporter
from .figures import Figures, families
from .left_figures import CI, NIGHT, Left, Writer
from .left_figures import figures as read
from .service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter(include_in_schema=False)
LOG = logging.getLogger(__name__)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """The figures in Prometheus' text format. 503 where the history cannot be read: then `up` is 0."""
    return Response(await asyncio.to_thread(text, request.app.state.service), media_type=CONTENT_TYPE)


def text(service: Service) -> bytes:
    """The figures of a service. Raises MetisError where the history cannot be read."""
    registry = CollectorRegistry()
    registry.register(_Found(figures(service)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Found:
    """Figures as a collector."""

    def __init__(self, found: Figures) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        return families(self._found)


def figures(service: Service) -> Figures:
    """All that is told. What is not of the history and cannot be read is left out."""
    files = {CI: service.ci_figures, NIGHT: service.artifacts.nightly_figures}
    return Figures(
        version=version("metis"),
        board=service.board,
        tallies=events.tallies(service.history),
        durations=events.durations(service.history, events.BOUNDS),
        jobs=jobs.tally(service.history),
        oldest_waiting=_oldest_waiting(service.history),
        cache=_cache(service.cache),
        listeners=service.events.count,
        left={writer: left for writer, file in files.items() if (left := _left(file, writer)) is not None},
    )


def _oldest_waiting(history: Path) -> float:
    now = datetime.now(UTC)
    asked = (each.asked_at for each in jobs.unfinished(history) if each.state == "waiting")
    return max((max(0.0, (now - datetime.fromisoformat(at)).total_seconds()) for at in asked), default=0.0)


def _cache(root: Path) -> tuple[int, int] | None:
    try:
        found = contents(Store(root, QuietReporter()))
    except OSError:
        return None
    return found.size, len(found.files)


def _left(file: Path, writer: Writer) -> Left | None:
    """What a writer left in a file; None where there is none."""
    try:
        # What else there may be would be waited for, as a pipe is.
        if file.exists() and not file.is_file():
            raise MetisError("is not a file")
        with file.open("rb") as opened:
            return Left(read(opened.read(writer.largest + 1), writer), is_readable=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        LOG.warning("%s", from_os(error))
    except MetisError as error:
        LOG.warning("%s %s", file, error)
    return Left((), is_readable=False)
