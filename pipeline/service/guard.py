"""What stands before the application: nothing gets to it that is not meant to, and nothing leaves it bare.

Each request is read (`asked`), comes to a door (`doors`), is somebody's (`identity`) who does not ask too
often (`limits`), and, where it changes something, was made by a page of ours (`csrf`) and is noted with its
outcome (`history.audit`). An answer is handed on piece by piece as it comes, with the headers of `answers`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import MetisError, known
from ..history import audit
from . import csrf
from .acts import act, begun
from .answering import Answer, Send
from .asked import Asked, asked
from .body import HungUp, Receive, again, field, read
from .denial import Denial
from .doors import Door, door, has_token
from .identity import LOCAL, Identity, check_host, check_local, client, identify
from .limits import ACTING, DELIVERING, READING, SECONDS, STRANGERS, Buckets, Room, place
from .once import Once
from .options import TOKENS, Options

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Note = Callable[[audit.Act], object]

ROBOT = Identity("api token", "maintenance")
"""Whoever has the token for the API: it builds, burns and watches."""
NOBODY = Identity("nobody", None)
API = "/api/"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds that only go forward, and seconds since 1970."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Guard:
    """ASGI middleware around an application; the outermost, so that errors are answered by it too.

    `key` is what tokens of pages are made with. `note` keeps a line of what somebody was refused, and `begin`
    one of what is about to be done, for which it gives what says how that ended; both are called in a thread.
    Where nobody can `begin`, nothing is done; without it only ends are noted. `seconds` is how long a body
    may take. What the application finds in `request.state`: `identity`, `csrf` (the token for forms) and
    `client` (the address that asks).
    """

    def __init__(
        self,
        app: App,
        options: Options,
        *,
        key: bytes,
        note: Note,
        begin: Callable[[audit.Act], Note] | None = None,
        clocks: Clocks | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._app = app
        self._options = options
        self._key = key
        self._note = note
        self._begin = begin or (lambda _line: note)
        self._clocks = clocks or Clocks()
        self._seconds = seconds
        self._once = Once(options.gui_token, options.port) if options.gui_token is not None else None
        rates = {"reading": READING, "acting": ACTING, "strangers": STRANGERS, "delivering": DELIVERING}
        self._room = Room()
        self._buckets = {name: Buckets(rate, self._clocks.steady) for name, rate in rates.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is neither HTTP nor the start and end of the server is refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, Answer(send, is_https=self._options.is_https))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        request: Asked | None = None
        try:
            request = asked(scope)
            await self._let_in(request, scope, receive, answer)
        except HungUp:
            return
        except Denial as denial:
            await answer.refuse(denial, request)
        except Exception:
            await answer.refuse(Denial(500, "something went wrong here", "its log says what"), request)
            raise  # the server logs it

    async def _let_in(self, request: Asked, scope: Scope, receive: Receive, answer: Answer) -> None:
        """All the way to the application. Raises Denial, and whatever the application does."""
        address = client(request, self._options)
        try:
            way = door(request)
            identity = self._who(request, way, _port(self._options, scope))
            cookie = self._session(request, identity, scope.get("query_string", b""))
        except Denial as denial:
            self._buckets["strangers"].take(place(address))
            _LOG.warning("refused %s from %s: %s", request.method, address, denial.what)
            raise
        self._count(request, way, identity, address)
        if cookie is not None:
            await answer.whole(303, [(b"location", b"/"), (b"set-cookie", cookie.encode())])
            return
        if way.kind == "people":
            answer.is_private = True
            if not request.is_safe:
                answer.on_outcome = partial(self._noted, self._note, scope, identity, address)
            if identity.role is None:
                raise Denial(403, "you have no role here", "ask for one of the groups that have one")
            if request.is_safe:
                csrf.check_reader(request)
        token = csrf.token(self._key, identity.name, self._clocks.wall())
        scope.setdefault("state", {}).update(identity=identity, csrf=token, client=address)
        size = self._room.take(request)
        try:
            if not request.is_safe:
                receive = await self._whole(request, way, identity, receive)
                if way.kind == "people":
                    end = await self._begun(scope, identity, address)
                    answer.on_outcome = partial(self._noted, end, scope, identity, address)
            await self._app(scope, receive, answer.send)
        finally:
            self._room.give_back(size)

    def _who(self, request: Asked, way: Door, port: int) -> Identity:
        """Whose a request is. Raises Denial where it may not come in by this door."""
        if self._options.no_auth:
            check_local(request, self._options, port)
        if way.kind == "probe":
            return NOBODY
        if way.kind == "token":
            self._check_token(request, way.purpose, port)
            return Identity(way.purpose, None)
        if not self._options.no_auth:
            check_host(request, self._options)
        if way.kind != "people":
            return NOBODY
        if request.path.startswith(API) and has_token(request, self._options.tokens, "api"):
            return ROBOT
        return LOCAL if self._options.no_auth else identify(request, self._options)

    def _check_token(self, request: Asked, purpose: str, port: int) -> None:
        if has_token(request, self._options.tokens, purpose):
            return
        # Metrics have nothing secret: where no token is set for them, this machine may read them. But they
        # name nodes, and `metis gui` is for one browser of it.
        if purpose == "metrics" and purpose not in self._options.tokens:
            with suppress(Denial):
                check_local(request, self._options, port)
                if self._once is not None:
                    self._once.check(request)
                return
        raise Denial(401, "this is for who has the token", f"send that of {TOKENS[purpose]} as Bearer")

    def _session(self, request: Asked, identity: Identity, query: bytes) -> str | None:
        """The cookie for the browser that brings the one-time token. Raises Denial where another asks."""
        if self._once is None or identity is not LOCAL:
            return None
        cookie = self._once.opened(request, query)
        if cookie is None:
            self._once.check(request)
        return cookie

    def _count(self, request: Asked, way: Door, identity: Identity, address: str) -> None:
        """Raises Denial for who asks too often."""
        if way.kind == "people":
            self._buckets["reading" if request.is_safe else "acting"].take(identity.name)
        elif way.kind == "token":
            self._buckets["delivering"].take(way.purpose)
        else:
            self._buckets["reading"].take(place(address))

    async def _whole(self, request: Asked, way: Door, identity: Identity, receive: Receive) -> Receive:
        """Take in all of a body, and refuse what no page of ours made. Raises Denial."""
        if way.kind == "people" and identity is not ROBOT:
            csrf.check_origin(request, self._options)
        body = await read(request, receive, self._seconds)
        if way.kind == "people" and identity is not ROBOT:
            given = request.header(csrf.HEADER) or field(request, body, csrf.FIELD)
            csrf.check_token(self._key, identity.name, self._clocks.wall(), given)
        return again(body, receive)

    async def _begun(self, scope: Scope, identity: Identity, address: str) -> Note:
        """Keep a line of what is about to be done, and give what ends it. Raises Denial where nobody can."""
        try:
            return await asyncio.to_thread(self._begin, begun(scope, identity.label, address))
        except (MetisError, OSError) as error:
            _LOG.error("nothing is done that cannot be noted: %s", error)
            raise Denial(503, "what cannot be noted is not done", str(known(error)), retry_after=10) from None

    async def _noted(self, note: Note, scope: Scope, identity: Identity, address: str, status: int) -> None:
        line = act(scope, identity.label, status, address)
        try:
            await asyncio.to_thread(note, line)
        except (MetisError, OSError) as error:
            # What was done is done: the log has its end where the history has not.
            _LOG.error("not in the history: %s, %s by %s: %s", error, line.what, line.who, line.outcome)


def noting(history: Path) -> Note:
    """What keeps the guard's lines in the database of the history."""
    return lambda line: audit.note(history, line, datetime.now(UTC))


def beginning(history: Path) -> Callable[[audit.Act], Note]:
    """What keeps its lines of what is about to be done there, and then how that ended."""

    def begin(line: audit.Act) -> Note:
        return partial(audit.end, history, audit.note(history, line, datetime.now(UTC)))

    return begin


def _port(options: Options, scope: Scope) -> int:
    """Where the service listens."""
    _, port = scope.get("server") or ("", None)
    return options.port or int(port or 0)
