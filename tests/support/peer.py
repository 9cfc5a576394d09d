"""A server of a k3s cluster, as far as one that joins asks it: TLS, and the certificates at /cacerts."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.machine import process
from tests.support.rendering import program


@dataclass(frozen=True)
class Certificates:
    """Root and intermediate of a cluster, and a key that the peer speaks TLS with."""

    folder: Path

    def pem(self, name: str) -> bytes:
        return (self.folder / f"{name}.crt").read_bytes()

    def der_hash(self, name: str) -> str:
        return sha256(ssl.PEM_cert_to_DER_cert(self.pem(name).decode()))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def openssl(folder: Path, *words: str) -> None:
    process.run([program("openssl", "openssl"), *words], cwd=folder)


def make_certificates(folder: Path) -> Certificates:
    """Make `root` and `server`, which is signed by it."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", "root.key", "-out", "root.crt", "-subj", "/CN=root")
    openssl(folder, "req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    openssl(
        folder,
        *"x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -out server.crt".split(),
    )
    return Certificates(folder)


@dataclass
class Peer:
    """A server that answers /cacerts; `answer` is what it says there, `asked` how often it did."""

    certificates: Certificates
    answer: bytes
    port: int = 0
    asked: int = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextmanager
def serving(certificates: Certificates) -> Iterator[Peer]:
    """A peer that answers with the root's certificate while the block runs."""
    peer = Peer(certificates, certificates.pem("root"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/cacerts"
            answer = peer.answer if found else b""
            peer.asked += found
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder / "server.crt", certificates.folder / "server.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # who hangs up early is no failure
    peer.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
