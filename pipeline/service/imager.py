"""Images for any desktop: the repositories that Raspberry Pi Imager reads, and the files in them.

Imager cannot sign in, so the link of an export is all that its list and its file ask for. An unknown link and
one that is over get the same answer, as far as time tells too. Whoever writes down which addresses were asked
for must leave out what follows /imager/; uvicorn's log of accesses does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from ..errors import MetisError
from ..history.exports import Export, Exports
from ..inventory.read import NAME
from ..secret import MASK
from ..steps.artifacts import Artifacts
from . import imager_list
from .download import Download
from .imager_list import LIST, Offer

TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")
ICON = "/static/imager.png"
GONE = 410
_log = logging.getLogger(__name__)
_LINK = re.compile(r"/imager/[^/?#]+")


class WithoutLinks(logging.Filter):
    """Leaves the tokens of links out of what uvicorn logs of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the line's arguments, and let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _LINK.sub(f"/imager/{MASK}", each) if isinstance(each, str) else each for each in record.args
            )
        return True


WITHOUT_LINKS = WithoutLinks()


class Service(Protocol):
    """What is used here of `request.app.state.service`."""

    @property
    def artifacts(self) -> Artifacts:
        """Where images and exports are."""

    @property
    def history(self) -> Path:
        """The database of what happened."""

    @property
    def options(self) -> Any:  # noqa: ANN401 - only its `public_url`
        """How the service runs."""

    def start_export(self, node: str, by: str) -> str:
        """Have an export made by a job (`metis export`), and give the path of the page that shows it."""


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

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        addresses = {"repository": self.repository, "image": self.image, "open": self.opens_imager}
        return {**self.export.to_data(), **addresses, "warning": list(imager_list.WARNING)}


def routes(allowed: Callable[..., Any]) -> APIRouter:
    """The routes of this page. `allowed` is the dependency that lets only who may build and burn go on."""
    logging.getLogger("uvicorn.access").addFilter(WITHOUT_LINKS)
    router = APIRouter(include_in_schema=False)
    reading, signed_in = ["GET", "HEAD"], [Depends(allowed)]
    router.add_api_route(f"/imager/{LIST}", without_link, methods=reading)
    router.add_api_route(f"/imager/{{token}}/{LIST}", listing, methods=reading)
    router.add_api_route("/imager/{token}/{name}", image, methods=reading)
    router.add_api_route("/nodes/{node}/exports", make, methods=["POST"], dependencies=signed_in)
    router.add_api_route("/exports/{name}/link", show_link, methods=["POST"], dependencies=signed_in)
    router.add_api_route("/exports/{name}/revoke", revoke, methods=["POST"], dependencies=signed_in)
    return router


def exports_of(service: Service) -> Exports:
    """The exports that a service offers. Its scheduler calls `sweep` of them each minute or so."""
    return Exports(service.history, service.artifacts.exports)


# -------------------------------------------------------------------------------------- for Imager


def without_link(request: Request) -> Response:
    """A list without cards, for who opens the service itself in Imager."""
    return JSONResponse(imager_list.no_cards(_origin(request) + ICON))


def listing(token: str, request: Request) -> Response:
    """The list of one export."""
    export, origin = _found(token, request), _origin(request)
    offer = Offer(**{field.name: getattr(export, field.name) for field in fields(Offer)})
    data = imager_list.os_list(offer, f"{origin}/imager/{token}/{export.file_name}", origin + ICON)
    return JSONResponse(data, headers={"cache-control": "no-store"})


def image(token: str, name: str, request: Request) -> Response:
    """The packed image of an export, or a range of it. When all of it was sent, the export is over."""
    export, exports = _found(token, request), exports_of(request.app.state.service)
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
            _log.error("export %s: what was sent of it is not counted: %s", export.id, error)

    return Download(file, export.size, f'"{export.sha256}"', name, request, note)


def _found(token: str, request: Request) -> Export:
    export = exports_of(request.app.state.service).find(token, datetime.now(UTC))
    if export is None:
        raise HTTPException(404)
    return export


def _opened(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


# ------------------------------------------------------------------------------------ for operators


def make(node: str, request: Request) -> Response:
    """Start a job that makes an export of a node's image."""
    if not NAME.fullmatch(node):
        raise HTTPException(404)
    place = request.app.state.service.start_export(node, request.state.identity.name)
    if _is_page(request):
        return RedirectResponse(place, 303)
    return JSONResponse({"job": place}, 202)


def show_link(name: str, request: Request) -> Response:
    """Make the link of an open export, and show it this once."""
    try:
        link = link_of(request, name)
    except MetisError as error:
        raise HTTPException(GONE, str(error)) from None
    unseen = {"cache-control": "no-store"}
    if _is_page(request):
        context = {"link": link, "warning": imager_list.WARNING}
        return TEMPLATES.TemplateResponse(request, "imager_link.html", context, headers=unseen)
    return JSONResponse(link.to_data(), headers=unseen)


def link_of(request: Request, name: str) -> Link:
    """A new link to an open export; an earlier one ends. Raises MetisError where that is over."""
    export, token = exports_of(request.app.state.service).link(name, datetime.now(UTC))
    place = f"{_origin(request)}/imager/{token.reveal()}"
    return Link(export, f"{place}/{LIST}", f"{place}/{export.file_name}")


def revoke(name: str, request: Request) -> Response:
    """End an export: its link, its file, and whatever download of it runs."""
    export = exports_of(request.app.state.service).revoke(name, datetime.now(UTC))
    if export is None:
        raise HTTPException(GONE, "this export is over")
    if _is_page(request):
        return RedirectResponse(f"/nodes/{export.node}", 303)
    return JSONResponse(export.to_data())


def _is_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers


def _origin(request: Request) -> str:
    """How browsers and Imager reach the service."""
    known: str = request.app.state.service.options.public_url
    return (known or str(request.base_url)).rstrip("/")
