"""How the stand-in API server reads requests and writes answers: HTTP, and which of its objects is meant."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.support.apiserver_objects import (
    KINDS,
    Object,
    Place,
    RefusalError,
    Selector,
    selects,
    status,
)
from tests.support.apiserver_requests import Request, parsed

if TYPE_CHECKING:
    from tests.support.apiserver import ApiServer

_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
_FOR_ALL: Mapping[str, Any] = {
    "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.4+k3s1", "platform": "linux/arm64"},
    "/readyz": "ok",
}
"""What whoever is known may ask for."""
_TICK = 0.05
"""Seconds after which a watch looks whether its time is up or its client gone."""


class Handler(BaseHTTPRequestHandler):
    """One connection; `cluster` is set by the server that it belongs to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and its body are two writes
    cluster: ApiServer
    request_here: Request

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self.request_here = parsed(
            self.command, self.path, self.headers.get("Content-Type", ""), body
        )
        self.cluster.requests.append(request)
        fault = self.cluster.fault_for(request)
        if fault:
            fault(self)
        elif request.verb == "watch":
            self.watch()
        else:
            self.answer(*self.whole())

    def do_PATCH(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    # ------------------------------------------------------------------------------------ Wire

    def whole(self) -> tuple[int, bytes]:
        request = self.request_here
        try:
            self._admit()
            with self.cluster.store.changed:  # what others do meanwhile was not done by this request
                before = self.cluster.store.version
                code, said = self._done(request)
                request.changed = self.cluster.store.version != before
        except RefusalError as refused:
            code, said = refused.code, refused.status
        return code, json.dumps(said).encode() + b"\n"

    def answer(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.begin(
            code, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        )
        self.say(body)

    def begin(self, code: int, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def say(self, data: bytes) -> bool:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
            return False
        return True

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def until_gone(self) -> None:
        while not self.cluster.stopping.is_set() and not self._is_gone():
            select.select([self.connection], [], [], _TICK)

    def watch(self, most: int | None = None) -> None:
        """Tell of what happens from a version on, until time is up, the client gone or `most` were told."""
        request = self.request_here
        try:
            self._admit()
            selector, place = request.selector, request.place
            asked = request.query.get("resourceVersion", "")
            store = self.cluster.store
            with store.changed:
                seen = int(asked or 0)
                if seen and seen < store.oldest:
                    told = status(410, "Expired", f"too old resource version: {seen} ({store.version})")
                    self._begin_watch()
                    self._tell("ERROR", told)
                    self.say(b"0\r\n\r\n")
                    return
                start = [] if seen else store.matching(place, selector)
                seen = seen or store.version
        except RefusalError as refused:
            self.answer(refused.code, json.dumps(refused.status).encode())
            return
        self._begin_watch()
        left = [most]
        for item in start:
            self._tell("ADDED", item, left)
        seconds = float(request.query.get("timeoutSeconds") or 1800)
        self._follow(place, selector, seen, time.monotonic() + seconds, left)
        if most is None and not self.cluster.stopping.is_set():
            if request.query.get("allowWatchBookmarks") == "true":
                kind = {"kind": KINDS[place.resource], "apiVersion": "v1"}
                self._tell("BOOKMARK", {**kind, "metadata": {"resourceVersion": str(store.version)}})
            self.say(b"0\r\n\r\n")
        else:
            self.close_connection = True

    # --------------------------------------------------------------------------------- its parts

    def _follow(
        self, place: Place, selector: Selector, seen: int, until: float, left: list[int | None]
    ) -> None:
        store = self.cluster.store
        while left[0] != 0 and time.monotonic() < until and not self.cluster.stopping.is_set():
            with store.changed:
                fresh = [event for event in store.events if event.version > seen]
                if not fresh:
                    if self._is_gone():
                        return
                    store.changed.wait(_TICK)
                    continue
            seen = fresh[-1].version
            for event in fresh:
                here = event.place
                is_meant = here.resource == place.resource and place.namespace in {"", here.namespace}
                if is_meant and selects(selector, event.object) and left[0] != 0:
                    self._tell(event.type, event.object, left)

    def _begin_watch(self) -> None:
        self.begin(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})

    def _tell(self, type_: str, item: Object, left: list[int | None] | None = None) -> None:
        line = json.dumps({"type": type_, "object": item}).encode() + b"\n"
        self.say(b"%x\r\n%s\r\n" % (len(line), line))
        if left and left[0] is not None:
            left[0] -= 1

    def _is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable)  # nobody says anything while an answer is awaited, but that they go

    def _admit(self) -> None:
        """Raise RefusalError for who shows no token or certificate of ours, or may not do this."""
        user = self._user()
        if user is None:
            raise RefusalError(401, "Unauthorized", "Unauthorized")
        self.request_here.user = user
        self.cluster.check(self.request_here)

    def _user(self) -> str | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind:
            user = token.removeprefix("canary-token-of.")
            return user if kind.lower() == "bearer" and token == self.cluster.token(user) else None
        shown = self.connection.getpeercert() or {}
        return next((value for [(key, value)] in shown.get("subject", ()) if key == "commonName"), None)

    def _done(self, request: Request) -> tuple[int, Any]:
        if not request.resource:
            if request.path not in _FOR_ALL:
                raise RefusalError(404, "NotFound", "the server could not find the requested resource")
            return 200, _FOR_ALL[request.path]
        store, place, query = self.cluster.store, request.place, request.query
        if request.verb == "get":
            return 200, store.get(place)
        if request.verb == "list":
            limit = int(query.get("limit") or 0)
            return 200, store.listing(place, request.selector, limit, query.get("continue", ""))
        if request.verb == "create":
            return 201, store.put(_with_kind(request), request.query.get("fieldManager", "unknown"), new=True)
        if request.verb == "delete":
            options = request.body or {}
            return 200, store.delete(place, options.get("preconditions") or {})
        if request.verb == "patch":
            return self._patched(request)
        raise RefusalError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )

    def _patched(self, request: Request) -> tuple[int, Any]:
        store, place, manager = self.cluster.store, request.place, request.query.get("fieldManager", "")
        force = request.query.get("force")
        if request.content_type == _MERGE:
            if force:
                message = (
                    "PatchOptions is invalid: force: Forbidden: may not be specified for non-apply patch"
                )
                raise RefusalError(422, "Invalid", message)
            return 200, store.merge(place, request.body, manager or "unknown")
        if request.content_type == _APPLY:
            if not manager:
                message = "PatchOptions is invalid: fieldManager: Required value: is required for apply patch"
                raise RefusalError(422, "Invalid", message)
            if (request.body.get("apiVersion"), request.body.get("kind")) != ("v1", KINDS[place.resource]):
                raise RefusalError(400, "BadRequest", "the object in the data must have apiVersion and kind")
            return 200, store.apply(place, request.body, manager, force=force == "true")
        what = f"the body of the request was in an unknown format - accepted media types: {_MERGE}, {_APPLY}"
        raise RefusalError(415, "UnsupportedMediaType", what)

    def handle(self) -> None:
        with suppress(OSError):  # who asks may hang up
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _with_kind(request: Request) -> Object:
    """What is to be created, where the path says that it goes."""
    item: Object = request.body
    if request.namespace:
        item["metadata"]["namespace"] = request.namespace
    return {**item, "kind": KINDS[request.resource]}
