"""A file to whoever fetches it, piece by piece and by ranges, with an account of what was sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from http import HTTPStatus
from io import FileIO

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .byte_ranges import wanted

PIECE = 1 << 18
"""Bytes in memory for each download."""
STALLED = 600.0
"""Seconds: so slow a card may be. Who takes nothing for longer would keep a file open that is removed."""


class Download(Response):
    """An answer with an open file of `size` bytes, which it closes; GET or HEAD.

    `etag` names the content, in quotes. `note` is called with the half-open range that was sent, if any was,
    also where the other side was cut off. It ends, short of what it has promised, when the file loses its
    name: so a download ends with what it is of.
    """

    def __init__(
        self,
        file: FileIO,
        size: int,
        etag: str,
        name: str,
        request: Request,
        note: Callable[[int, int], None],
    ) -> None:
        ask = request.headers.getlist
        part = None
        if request.method == "GET":
            part = wanted(ask("range"), ask("if-range"), etag, size)
        self._start, self._end = part or (0, size)
        self._file, self._note = file, note
        headers = {
            "accept-ranges": "bytes",
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="{name}"',
            "content-length": str(self._end - self._start),
            "etag": etag,
            # A proxy that takes all of it would have us count what nobody has got (nginx, proxy_buffering).
            "x-accel-buffering": "no",
        }
        status = HTTPStatus.OK
        if part is not None:
            has_it = self._start < self._end
            status = HTTPStatus.PARTIAL_CONTENT if has_it else HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            headers["content-range"] = f"bytes {f'{self._start}-{self._end - 1}' if has_it else '*'}/{size}"
        super().__init__(None, status, headers, "application/zstd")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; ASGI's own way (asgi.readthedocs.io, HTTP)."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            await send(start)
            if scope["method"] == "HEAD" or await self._has_sent(receive, send):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._file.close()

    async def _has_sent(self, receive: Receive, send: Send) -> bool:
        """Whether all of it was sent; when that is known, what was sent is noted."""
        at, gone = self._start, asyncio.create_task(_until_gone(receive))
        try:
            while at < self._end:
                piece = await asyncio.to_thread(self._read, at)
                if not piece or not await _is_taken(send, piece) or gone.done():
                    break
                at += len(piece)
        finally:
            gone.cancel()
            if at > self._start:
                await asyncio.shield(asyncio.to_thread(self._note, self._start, at))
        return at == self._end

    def _read(self, at: int) -> bytes:
        descriptor = self._file.fileno()
        if os.fstat(descriptor).st_nlink == 0:
            return b""
        return os.pread(descriptor, min(PIECE, self._end - at), at)


async def _is_taken(send: Send, piece: bytes) -> bool:
    try:
        async with asyncio.timeout(STALLED):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True


async def _until_gone(receive: Receive) -> None:
    """Ends when the other side is gone, of which a server tells nobody who only sends."""
    while (await receive())["type"] != "http.disconnect":
        pass
