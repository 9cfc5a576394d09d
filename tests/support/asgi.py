"""Requests to an ASGI application without a server: what one sends is bytes of our choice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.service.guard import App

HOST = (b"host", b"metis.example")


@dataclass(frozen=True)
class Reply:
    """What came back; status 0 where nothing did."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str:
        found = [value.decode() for key, value in self.headers if key == name.lower().encode()]
        assert len(found) <= 1, f"{name} comes {len(found)} times"
        return found[0] if found else ""


def scope(
    method: str,
    path: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    peer: str = "10.1.1.1",
    raw_path: bytes | None = None,
    query: bytes = b"",
) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": (peer, 40000),
        "server": ("10.1.1.2", 8080),
    }


def send(app: App, asked: dict[str, Any], pieces: Sequence[bytes] = (b"",), *, ends: bool = True) -> Reply:
    """Send a request, its body in pieces; where it does not end, the next piece is waited for in vain."""
    return asyncio.run(exchange(app, asked, pieces, ends=ends))


async def exchange(
    app: App, asked: dict[str, Any], pieces: Sequence[bytes] = (b"",), *, ends: bool = True
) -> Reply:
    left = list(pieces)
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if left:
            piece = left.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(left) or not ends}
        await asyncio.Event().wait()
        raise AssertionError("nothing more comes")

    async def collect(message: Any) -> None:
        said.append(message)

    await app(asked, receive, collect)
    if not said:
        return Reply(0, [], b"")
    body = b"".join(message.get("body", b"") for message in said[1:])
    return Reply(said[0]["status"], said[0]["headers"], body)


def form(**fields: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of a plain form."""
    from urllib.parse import urlencode

    body = urlencode(fields).encode()
    kind = (b"content-type", b"application/x-www-form-urlencoded")
    return [kind, (b"content-length", str(len(body)).encode())], body
