"""A real web server on this machine that behaves as badly as a test wants it to."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """One answer; after `cut` bytes of the body the connection ends, after `silence` seconds it goes on."""

    status: int = 200
    body: bytes = b""
    headers: Headers = field(default_factory=dict)
    cut: int | None = None
    silence: float = 0.0


Script = Callable[[int, Headers], Answer]
"""From the number of the request (from 0) and its headers to the answer."""


def publish(
    body: bytes,
    asked: Headers,
    *,
    version: Headers | None = None,
    cut: int | None = None,
    silence: float = 0.0,
) -> Answer:
    """Answer as a good server does, with ranges (RFC 9110, 14); `version` is its validators."""
    version = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:8]}"'} if version is None else version
    start = re.fullmatch(r"bytes=(\d+)-", asked.get("Range", ""))
    if start is None or asked.get("If-Range") not in version.values():
        return Answer(200, body, version, cut, silence)
    first = int(start[1])
    if first >= len(body):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
    headers = {**version, "Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}
    return Answer(206, body[first:], headers, cut, silence)


class Web:
    """A server that answers by its script, and remembers what it was asked."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}/x.img.xz"
        self.script: Script = lambda _, __: Answer(404)
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Web]:
    """Serve from a thread while the block runs; with a certificate (and its key in one file) over TLS."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    web = Web("https" if certificate else "http", server.server_address[1])
    handler.web = web  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        number = len(self.web.asked)
        self.web.asked.append(dict(self.headers.items()))
        self.web.paths.append(self.path)
        answer = self.web.script(number, self.web.asked[-1])
        headers = {"Content-Length": str(len(answer.body)), **answer.headers, "Connection": "close"}
        self.send_response(answer.status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        whole = answer.body if answer.cut is None else answer.body[: answer.cut]
        half = len(whole) // 2
        self.wfile.write(whole[:half])
        self.wfile.flush()
        time.sleep(answer.silence)
        self.wfile.write(whole[half:])
        self.close_connection = True

    def handle(self) -> None:
        with suppress(OSError):  # whoever asked may go away
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
