"""Requests in parts, each of which can be forged; who answers them, and all that they could change."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.history import jobs
from pipeline.history.jobs import Wanted
from pipeline.service import csrf
from tests.support.lab import Lab
from tests.support.lab_service import Served

TOKENS = {"sentinel": "s" * 32, "api": "a" * 32}
HOUR = 3600
REMEMBERED = ("index-", "expected-")
"""What looks at the nodes leave behind, so that the next is quicker."""
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Asked:
    """A request as it is sent; of one that `stops` only so much is, and the rest is never heard of.

    `old_token` is what a page had that somebody left open since yesterday.
    """

    method: str
    path: str
    headers: Mapping[str, str | None]
    body: bytes
    more: tuple[str, ...] = ()
    source: str = "127.0.0.1"
    stops: str = ""
    old_token: str = ""

    @property
    def sent(self) -> bytes:
        named = {"Content-Length": str(len(self.body)), **self.headers, "Connection": "close"}
        lines = [f"{name}: {value}" for name, value in named.items() if value is not None]
        head = "\r\n".join([f"{self.method} {self.path} HTTP/1.1", *lines, *self.more]).encode()
        return {"": head + b"\r\n\r\n" + self.body, "body": head + b"\r\n\r\n" + self.body[:1], "head": head}[
            self.stops
        ]

    def having(self, **headers: str | None) -> Asked:
        """With other headers, or without those that are None."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})


@dataclass(frozen=True)
class Site:
    """The service, what may be done to it, and all that could be changed by that."""

    served: Served
    lab: Lab
    key: bytes
    card: str

    @property
    def history(self) -> Path:
        return self.served.service.history

    def state(self) -> Mapping[str, object]:
        """Each row of the database and each file, by what is in it."""
        found: dict[str, object] = {}
        with closing(sqlite3.connect(self.history)) as database:
            tables = [
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for name in set(tables) - {"audit"}:
                found[name] = database.execute(f'SELECT * FROM "{name}"').fetchall()
        for file in self.lab.root.rglob("*"):
            if file.is_file() and not any(name in file.name for name in ("history.sqlite3", *REMEMBERED)):
                found[str(file.relative_to(self.lab.root))] = sha256(file.read_bytes()).hexdigest()
        return found

    def connected(self, request: Asked) -> socket.socket:
        at = urlsplit(self.served.url)
        return socket.create_connection((at.hostname, at.port), 30, source_address=(request.source, 0))

    def ask(self, request: Asked) -> int:
        """The status of the answer."""
        with self.connected(request) as connection:
            with suppress(ConnectionError):
                connection.sendall(request.sent)
            return status_of(connection)

    def people(self, path: str, kind: str, body: bytes) -> Asked:
        """What a page sends for somebody who has signed in: another each time: none asks too often."""
        name = f"ada{time.monotonic_ns()}"
        token, old = (csrf.token(self.key, name, at) for at in (time.time(), time.time() - 14 * HOUR))
        if kind == FORM:
            body = body + b"&csrf=" + token.encode()
        headers = {
            "Host": urlsplit(self.served.url).netloc,
            "Origin": self.served.url,
            "Sec-Fetch-Site": "same-origin",
            "X-Forwarded-User": name,
            "X-Forwarded-Groups": "ops",
            "X-Forwarded-For": f"192.0.2.{time.monotonic_ns() % 250}",
            "Content-Type": kind,
            "X-CSRF-Token": token if kind == JSON else None,
        }
        return Asked("POST", path, headers, body, old_token=old)

    def program(self, path: str, purpose: str, body: bytes) -> Asked:
        """What a script or a sentinel sends, from anywhere."""
        headers = {
            "Host": urlsplit(self.served.url).netloc,
            "Authorization": f"Bearer {TOKENS[purpose]}",
            "Content-Type": JSON,
        }
        return Asked("POST", path, headers, body, source=f"127.0.{1 + time.monotonic_ns() % 250}.9")

    def waiting(self, node: str) -> int:
        return jobs.add(self.history, Wanted("image", node, "ops"), datetime.now(UTC))[0].id


def status_of(connection: socket.socket) -> int:
    answer = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]) if answer else 0
