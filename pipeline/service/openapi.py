"""The document of the API (OpenAPI 3.1), made of its routes: every answer that may come is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .answers import PROBLEM
from .api_models import Problem

ABOUT = """\
What the pages of Metis show and do. Scripts send the token of METIS_API_TOKEN as Bearer, or come by the proxy
that signs people in; whoever signed in sends the page's token as X-CSRF-Token with each POST.
Errors are documents as RFC 9457 has them. 429 and 503 say with Retry-After when to try again.
"""
TAGS = [
    {"name": "lab", "description": "Nodes, classes, drift and cards, as they were looked at last"},
    {"name": "jobs", "description": "What was asked for, one after the other"},
    {"name": "exports", "description": "Packed images for Raspberry Pi Imager, and the links to them"},
    {"name": "history", "description": "What was built, burned and seen, also by hand, and who did what"},
]
WORDS = {
    400: "The request cannot be read",
    401: "Nobody has signed in, and no token is there",
    403: "Who asks may not do this",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "It does not fit to how things are by now",
    410: "It is over, or never was",
    413: "The body is larger than any that is meant",
    414: "The address is too long",
    422: "The request is not what this document says",
    429: "Too many requests",
    431: "The headers are too long, or too many",
    503: "Nobody can tell now",
}


ANYWHERE = (400, 401, 403, 414, 422, 429, 431, 503)
POSTED = (408, 409, 413)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that are problems."""
    return {status: {"model": Problem, "description": WORDS[status]} for status in statuses}


class Application(FastAPI):
    """An application that describes itself so."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema


def document(app: FastAPI) -> dict[str, Any]:
    """The document; FastAPI takes every answer for JSON of one kind, and problems have one of their own."""
    found = get_openapi(title="Metis", version=app.version, description=ABOUT, routes=app.routes, tags=TAGS)
    for answer in _answers(found):
        content = answer.get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if schema.get("$ref", "").endswith("/Problem"):
            answer["content"] = {PROBLEM: content.pop("application/json")}
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    return found


def _answers(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in found["paths"].values():
        for operation in methods.values():
            yield from operation["responses"].values()
