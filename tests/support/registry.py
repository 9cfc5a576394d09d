"""A real registry on this machine: Debian's docker-registry, with or without TLS, passwords and tokens."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from pipeline.golden.registry.access import RegistryAccess, Robot
from pipeline.machine import process
from pipeline.secret import Secret
from tests.support import ports
from tests.support.netns import Network
from tests.support.rendering import program

USER, PASSWORD = "robot$metis", "hunter2-robot"
_HASHED = "$2b$04$abcdefghijklmnopqrstuuR/fhXM4XV1e4n59BxATMASr8BgEL9k2"
"""PASSWORD as bcrypt has it, at its lowest cost."""


@dataclass(frozen=True)
class Server:
    """A registry that runs; `host` is with its port, `storage` where its files lie."""

    host: str
    storage: Path
    certificate: Path | None = None
    wants_login: bool = False

    @property
    def access(self) -> RegistryAccess:
        """How it is reached by whoever may."""
        authority = Path(f"{self.certificate}.crt") if self.certificate else None
        robot = Robot(self.host, USER, Secret(PASSWORD)) if self.wants_login else None
        return RegistryAccess(authority=authority, robot=robot)

    @property
    def environment(self) -> dict[str, str]:
        """The same for commands."""
        named = {"METIS_REGISTRY_CA": f"{self.certificate}.crt"} if self.certificate else {}
        if self.wants_login:
            named |= {
                "METIS_REGISTRY": self.host,
                "METIS_REGISTRY_USER": USER,
                "METIS_REGISTRY_PASSWORD": PASSWORD,
            }
        return named

    def blob(self, digest: str) -> Path:
        """The file that it keeps for a digest."""
        value = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data"


@contextmanager
def serving(
    folder: Path,
    *,
    certificate: Path | None = None,
    passwords: bool = False,
    tokens: Tokens | None = None,
    address: str = "127.0.0.1",
    net: Network | None = None,
) -> Iterator[Server]:
    """Run a registry while the block runs, in a network if one is given; its files go below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
            "cache": {},
        },
        "http": {"tls": {"certificate": f"{certificate}.crt", "key": str(certificate)}}
        if certificate
        else {},
    }
    if passwords:
        (folder / "htpasswd").write_text(f"{USER}:{_HASHED}\n")
        config["auth"] = {"htpasswd": {"realm": "metis", "path": str(folder / "htpasswd")}}
    if tokens is not None:
        config["auth"] = {"token": tokens.config}
    words: list[str | Path] = [*(net.within if net else ())]
    words += [program("docker-registry", "docker-registry"), "serve", folder / "config.yml"]

    def start(port: int) -> AbstractContextManager[process.Background]:
        config["http"]["addr"] = f"{address}:{port}"
        (folder / "config.yml").write_text(yaml.safe_dump(config))
        return process.background(words, folder / "log")

    with ports.listening(start, folder / "log") as port:
        login = passwords or tokens is not None
        yield Server(f"{address}:{port}", folder / "storage", certificate, login)


def own_address() -> str:
    """An address of this machine that is not one of loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


# ---------------------------------------------------------------------------------------------- tokens


class Tokens:
    """A token service as Harbor has one (distribution.github.io/distribution/spec/auth/token)."""

    SERVICE, ISSUER = "metis-registry", "metis-tests"

    def __init__(self, host: str, key: Path) -> None:
        self._key = key
        self.asked: list[Mapping[str, list[str]]] = []
        self.config = {
            "realm": f"http://{host}/token",
            "service": self.SERVICE,
            "issuer": self.ISSUER,
            "rootcertbundle": f"{key}.crt",
        }

    def answer(self, query: Mapping[str, list[str]], authorization: str) -> tuple[int, dict[str, str]]:
        """The token for what is asked, where the password is right."""
        self.asked.append(query)
        if authorization != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return 401, {}
        access = []
        for scope in query.get("scope", []):
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return 200, {"token": self._token(access)}

    def _token(self, access: list[dict[str, Any]]) -> str:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        pem = self._key.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        body = Path(f"{self._key}.crt").read_text().partition("-----\n")[2].partition("\n-----")[0]
        now = datetime.now(UTC)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [body.replace("\n", "")]}
        claims = {
            "iss": self.ISSUER,
            "aud": self.SERVICE,
            "sub": USER,
            "iat": int(now.timestamp()),
            "nbf": int((now - timedelta(minutes=1)).timestamp()),
            "exp": int((now + timedelta(minutes=5)).timestamp()),
            "jti": base64.b64encode(now.isoformat().encode()).decode(),
            "access": access,
        }
        signed = ".".join(_packed(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def giving_tokens(key: Path, address: str = "127.0.0.1") -> Iterator[Tokens]:
    """Give tokens while the block runs; `key` is as of `make_certificate`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, data = tokens.answer(
                parse_qs(urlsplit(self.path).query), self.headers.get("Authorization", "")
            )
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    tokens = Tokens(f"{address}:{server.server_address[1]}", key)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---------------------------------------------------------------------------------------------- in between


class Between:
    """Passes on what a client and a server say, remembers the requests, and cuts answers where it is told.

    `cuts` are numbers of bytes of the body after which the connection of a blob's answer ends, one for each;
    with `spoils_after_cut` the next request for a blob brings a token that is none any more.
    """

    def __init__(self, port: int, to: str) -> None:
        self.host = f"127.0.0.1:{port}"
        self.to = to
        self.cuts: list[int] = []
        self.heads: list[str] = []
        self.spoils_after_cut = False
        self.spoils_next = False

    def of_blobs(self) -> list[str]:
        """The heads of the requests for blobs."""
        return [head for head in self.heads if head.startswith("GET ") and "/blobs/" in head]


@contextmanager
def between(server: Server) -> Iterator[Between]:
    """Stand between clients and a registry without TLS while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    cutter = Between(listener.getsockname()[1], server.host)
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_relay, args=(cutter, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield cutter
    finally:
        over.set()
        listener.close()


_TLS = b"\x16"
"""How whoever speaks it begins (RFC 8446, 5.1)."""


def _relay(cutter: Between, client: socket.socket) -> None:
    """One request and its answer; each connection is for one."""
    host, _, port = cutter.to.partition(":")
    with client, socket.create_connection((host, int(port))) as server, client.makefile("rb") as asked:
        if asked.peek(1)[:1] == _TLS:
            client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        head = b"".join(iter(asked.readline, b"\r\n"))
        if not head:
            return
        cutter.heads.append(head.decode("latin-1"))
        is_blob = head.startswith(b"GET ") and b"/blobs/" in head
        if is_blob and cutter.spoils_next:
            cutter.spoils_next = False
            head = re.sub(rb"(?i)bearer \S+", b"Bearer spoiled", head)
        server.sendall(head + b"Connection: close\r\n\r\n")
        left = cutter.cuts.pop(0) if is_blob and cutter.cuts else None
        with server.makefile("rb") as said:
            try:
                client.sendall(b"".join(iter(said.readline, b"\r\n")) + b"\r\n")
                while left != 0 and (chunk := said.read1(1 << 16 if left is None else min(left, 1 << 16))):
                    client.sendall(chunk)
                    if left is not None:
                        left -= len(chunk)
                        if left == 0:
                            cutter.spoils_next = cutter.spoils_after_cut
                            return
            except OSError:
                return


@dataclass
class Cutter:
    """A listener that ends each connection after the first bytes, which it keeps."""

    host: str
    said: list[bytes]


@contextmanager
def cutting(address: str) -> Iterator[Cutter]:
    """Cut all connections to a port of an address while the block runs."""
    listener = socket.create_server((address, 0))
    cutter = Cutter(f"{address}:{listener.getsockname()[1]}", [])

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                cutter.said.append(client.recv(1 << 16))

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield cutter
    finally:
        listener.close()
