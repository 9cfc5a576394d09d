"""An answer on its way out: with the headers that all have, and its outcome told to who notes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .answers import Pairs, hardened, refusal
from .asked import Asked
from .denial import Denial

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Answer:
    """What a server is sent, message by message as they come.

    `is_private` is for answers that nobody may keep. `on_outcome` is called with the status before who asked
    hears of it, so that whoever has got an answer knows that it was noted.
    """

    def __init__(self, send: Send, *, is_https: bool) -> None:
        self._send = send
        self._is_https = is_https
        self.is_started = False
        self.is_private = False
        self.on_outcome: Callable[[int], Awaitable[None]] | None = None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send on one message of ASGI."""
        if message["type"] == "http.response.start":
            if self.on_outcome is not None:
                await self.on_outcome(message["status"])
            self.is_started = True
            headers = hardened(
                message.get("headers", ()), is_https=self._is_https, is_private=self.is_private
            )
            message = {**message, "headers": headers}
        await self._send(message)

    async def whole(self, status: int, headers: Pairs, body: bytes = b"") -> None:
        """Send a whole answer."""
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, denial: Denial, request: Asked | None) -> None:
        """Say why a request goes no further, unless another answer has begun."""
        if not self.is_started:
            await self.whole(denial.status, *refusal(denial, request))
