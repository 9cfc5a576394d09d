"""The body of a request: read whole, bounded in bytes and time, before anything is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from .asked import Asked
from .denial import Denial
from .limits import check_size

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 200


class HungUp(Exception):  # noqa: N818 - it is no fault
    """Whoever asked has hung up."""


async def read(request: Asked, receive: Receive, seconds: float) -> bytes:
    """All of the body. Raises Denial for one too large or too slow, HungUp for one that ends early."""
    if request.declared is not None:
        check_size(request, request.declared)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HungUp
                body += message.get("body", b"")
                check_size(request, len(body))
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Denial(408, "the request took too long to arrive") from None


def again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read to the application, and then what comes after it."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def field(request: Asked, body: bytes, name: str) -> str:
    """The one value that a form gives to a field; empty where there is none, or where it is no plain form."""
    if request.header("content-type").partition(";")[0].strip().lower() != _FORM:
        return ""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Denial(400, "the form cannot be read") from None
    values = [value for key, value in pairs if key == name]
    return values[0] if len(values) == 1 else ""
