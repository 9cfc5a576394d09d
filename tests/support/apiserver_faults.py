"""What goes wrong with an API server's answers: each is given to `ApiServer.fail`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tests.support.apiserver_objects import status


class Wire(Protocol):
    """The connection that a request came on; whoever answers by it says all that is said."""

    def whole(self) -> tuple[int, bytes]:
        """What is answered when nothing is wrong; what is asked for is done by it."""

    def answer(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a body of JSON, or of what `headers` say."""

    def begin(self, code: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer alone."""

    def say(self, data: bytes) -> bool:
        """Send bytes as they are; False once nobody takes them."""

    def hang_up(self) -> None:
        """End the connection, whatever was said."""

    def until_gone(self) -> None:
        """Wait until the client has gone, or the server stops."""

    def watch(self, most: int) -> None:
        """Answer a watch as it should be, up to so many events."""


Answer = Callable[[Wire], None]
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def fails(code: int, message: str = "something is wrong", *, retry_after: str = "") -> Answer:
    """A Status object of a failure; nothing is done of what was asked."""
    body = json.dumps(status(code, _REASONS.get(code, ""), message)).encode()
    return lambda wire: wire.answer(code, body, {"Retry-After": retry_after} if retry_after else {})


def says(body: bytes | Any, code: int = 200, **headers: str) -> Answer:
    """Any answer; what is not bytes goes as JSON. `Content_Type` is the header Content-Type."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda wire: wire.answer(
        code, data, {key.replace("_", "-"): value for key, value in headers.items()}
    )


HTML = says(b"<html><body>502 Bad Gateway</body></html>\n", Content_Type="text/html")
"""What a proxy in between may say, with the status of success."""


def closes(wire: Wire) -> None:
    """Hang up without an answer; nothing is done of what was asked."""
    wire.hang_up()


def loses_answer(wire: Wire) -> None:
    """Do what was asked, and hang up without an answer."""
    wire.whole()
    wire.hang_up()


def closes_midway(wire: Wire) -> None:
    """Do what was asked, and hang up in the middle of the answer."""
    code, body = wire.whole()
    wire.begin(code, {"Content-Type": "application/json", "Content-Length": str(len(body))})
    wire.say(body[: len(body) // 2])
    wire.hang_up()


def endless(wire: Wire) -> None:
    """Begin a list, and go on with it for as long as anybody listens."""
    wire.begin(200, {"Content-Type": "application/json", "Connection": "close"})
    wire.say(b'{"kind":"NodeList","items":[')
    while wire.say(b'{"kind":"Node"},' * 4096):
        pass
    wire.hang_up()


def silent(wire: Wire) -> None:
    """Say nothing until the client gives up."""
    wire.until_gone()
    wire.hang_up()


def watch_breaks(events: int = 0) -> Answer:
    """A watch that tells of so many events, and is cut in the middle of another."""

    def answer(wire: Wire) -> None:
        wire.watch(events)
        wire.say(b'40\r\n{"type":"MODIFIED","object":')
        wire.hang_up()

    return answer


def watch_says(*lines: bytes, rest: bytes = b"") -> Answer:
    """A watch that sends these lines, then what is none, and ends."""

    def answer(wire: Wire) -> None:
        wire.begin(200, {"Content-Type": "application/json", "Connection": "close"})
        for line in lines:
            wire.say(line + b"\n")
        wire.say(rest)
        wire.hang_up()

    return answer


def watch_error(code: int = 410, message: str = "too old resource version: 1 (2)") -> Answer:
    """A watch whose only event says that it cannot go on."""
    told = {"type": "ERROR", "object": status(code, _REASONS.get(code, ""), message)}
    return watch_says(json.dumps(told).encode())
