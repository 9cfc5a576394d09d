"""A service on this machine that snapshots are delivered to over TLS; it behaves as a test wants it to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """One request as it arrived, with its place among all of them (from 0)."""

    place: int
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["Idempotency-Key"]


def answer(status: int, **headers: str) -> list[bytes]:
    """An answer without a body; `Retry_After` is the header Retry-After."""
    lines = [f"HTTP/1.1 {status} Some Reason", "Content-Length: 0", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ["".join(f"{line}\r\n" for line in [*lines, ""]).encode()]


NOTHING: list[bytes] = []
"""The connection ends without an answer."""


@dataclass
class Receiver:
    """A port that refuses connections until `start`; `script` gives the bytes of each answer."""

    server: ThreadingHTTPServer
    script: Callable[[Delivery], Iterable[bytes]] = lambda _: answer(201)
    reads: bool = True
    got: list[Delivery] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.server_address[1]}/api/snapshots"

    def start(self) -> None:
        self.server.server_activate()
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        if self._threads:
            self.server.shutdown()
        self.server.server_close()
        for thread in self._threads:
            thread.join()


@contextmanager
def receiving(certificate: Path, *, starts: bool = True) -> Iterator[Receiver]:
    """Have a receiver while the block runs; its certificate and key are in one file."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler, bind_and_activate=False)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.server_bind()  # until it listens, connections are refused
    receiver = Receiver(server)
    handler.receiver = receiver  # type: ignore[attr-defined]
    if starts:
        receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        wanted = int(self.headers["Content-Length"]) if self.receiver.reads else 0
        delivery = Delivery(
            len(self.receiver.got), self.path, dict(self.headers.items()), self.rfile.read(wanted)
        )
        self.receiver.got.append(delivery)
        for part in self.receiver.script(delivery):
            self.wfile.write(part)
            self.wfile.flush()
        self.close_connection = True

    def handle(self) -> None:
        with suppress(OSError):  # whoever delivers may hang up
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
