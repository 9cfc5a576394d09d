"""What Raspberry Pi Imager reads: the list of an export, and its file.

Imager cannot sign in, so the link of an export is all that is asked for. An unknown link and one that is over
get the same answer, as far as time tells too.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from ..errors import MetisError
from ..history.exports import Export, Exports
from . import imager_list
from .download import Download
from .imager_list import LIST, Offer

router = APIRouter(include_in_schema=False)
READING = ["GET", "HEAD"]
ICON = "/static/imager.png"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """The addresses of an export, each with its token; they are shown once and kept nowhere."""

    export: Export
    repository: str
    image: str

    @property
    def opens_imager(self) -> str:
        """What opens Imager with it."""
        return imager_list.deep_link(self.repository)


def link_of(request: Request, name: str) -> Link | None:
    """A new link to an open export, with which an earlier one ends; None where it is over."""
    made = exports_of(request).link(name, datetime.now(UTC))
    if made is None:
        return None
    export, token = made
    place = f"{_origin(request)}/imager/{token.reveal()}"
    return Link(export, f"{place}/{LIST}", f"{place}/{export.file_name}")


def exports_of(request: Request) -> Exports:
    """The exports of the service that is asked."""
    found: Exports = request.app.state.service.exports
    return found


@router.api_route(f"/imager/{LIST}", methods=READING)
def without_link(request: Request) -> Response:
    """A list without cards, for who opens the service itself in Imager."""
    return JSONResponse(imager_list.no_cards(_origin(request) + ICON))


@router.api_route(f"/imager/{{token}}/{LIST}", methods=READING)
def listing(token: str, request: Request) -> Response:
    """The list of one export."""
    export, origin = _found(token, request), _origin(request)
    offer = Offer(**{field.name: getattr(export, field.name) for field in fields(Offer)})
    data = imager_list.os_list(offer, f"{origin}/imager/{token}/{export.file_name}", origin + ICON)
    return JSONResponse(data, headers={"cache-control": "no-store"})


@router.api_route("/imager/{token}/{name}", methods=READING)
def image(token: str, name: str, request: Request) -> Response:
    """The packed image of an export, or a range of it. When all of it was sent, the export is over."""
    export, exports = _found(token, request), exports_of(request)
    if name != export.file_name:
        raise HTTPException(404)
    try:
        file = _opened(exports.place(export))
    except OSError:  # it has just come to its end
        raise HTTPException(404) from None

    def note(start: int, end: int) -> None:
        try:
            exports.sent(export, start, end, datetime.now(UTC))
        except MetisError as error:
            _LOG.error("export %s: what was sent of it is not counted: %s", export.id, error)

    return Download(file, export.size, f'"{export.sha256}"', name, request, note)


def _found(token: str, request: Request) -> Export:
    export = exports_of(request).find(token, datetime.now(UTC))
    if export is None:
        raise HTTPException(404)
    return export


def _opened(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _origin(request: Request) -> str:
    """How browsers and Imager reach the service."""
    known: str = request.app.state.service.options.public_url
    return known or str(request.base_url).rstrip("/")
