"""A Vault on this machine, as far as the API documents what Metis asks of it; and as bad as a test wants it.

It speaks HTTP on a real socket, from a thread of the test, so that commands in other processes reach it
too. Answers are those of https://developer.hashicorp.com/vault/api-docs: secret/kv/kv-v2, auth/approle and
auth/token.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.copies import Copies
from pipeline.secrets.places import VaultPlace
from pipeline.secrets.vault.vault import Vault as OwnVault
from pipeline.settings import Settings
from tests.support.ports import kept_port
from tests.support.waiting import PATIENCE

MOUNT = "kv"
DENIED = "1 error occurred:\n\t* permission denied\n\n"
CONFLICT = "check-and-set parameter did not match the current version"


@dataclass(frozen=True)
class Asked:
    """One request that arrived, and the status that it was answered with."""

    method: str
    path: str
    """Without /v1/: `kv/data/atlas/nodes/titan-13`."""
    token: str
    namespace: str
    headers: Mapping[str, str]
    status: int


@dataclass
class Answer:
    """An answer in place of the right one, after `delay` seconds; if given, `drip` bytes of it each 50 ms."""

    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: int = 0
    after: bool = False
    """Whether the right thing is done first, and only its answer is lost."""


@dataclass
class Version:
    """One version of a document; `deleted` is when, if it is."""

    data: dict[str, Any]
    created: str
    deleted: str = ""
    destroyed: bool = False

    def metadata(self) -> dict[str, Any]:
        times = {"created_time": self.created, "deletion_time": self.deleted}
        return {**times, "destroyed": self.destroyed}


@dataclass
class Token:
    """A token that the server knows; `lease` is in seconds, 0 for one without an end."""

    lease: int = 0
    renewable: bool = False


class _EndError(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, status: int, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def _error(status: int, *texts: str) -> _EndError:
    return _EndError(status, {"errors": list(texts)})


class Vault:
    """The server: what it keeps, what it was asked (`log`), and how it behaves."""

    def __init__(self, port: int, certificate: Path | None, namespace: str) -> None:
        self.namespace = namespace
        self.token = f"hvs.{secrets.token_urlsafe(24)}"
        """The root token."""
        self.tokens: dict[str, Token] = {self.token: Token()}
        self.log: list[Asked] = []
        self.sealed = False
        self.denied: set[str] = set()
        """Paths as in `Asked.path` that nobody may ask for; one that ends with / stands for all below it."""
        self.most_at_once = 0
        """Requests that were being answered at the same time."""
        self._at_once = 0
        self.scheme = "https" if certificate else "http"
        self._certificate = certificate
        self._documents: dict[tuple[str, str], list[Version]] = {}
        self._roles: dict[str, tuple[str, Token]] = {}
        self._instead: list[tuple[re.Pattern[str], Answer, int]] = []
        self._lock = threading.RLock()
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------- for who writes a test

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._port}"

    @property
    def is_running(self) -> bool:
        return self._server is not None

    def environment(self) -> dict[str, str]:
        """What lets a command find this server, with its root token."""
        namespace = {"VAULT_NAMESPACE": self.namespace} if self.namespace else {}
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": self.token, **namespace}

    def put(self, path: str, data: Mapping[str, Any]) -> int:
        """Write a new version of a document as an operator does (`atlas/nodes/x`); gives its number."""
        with self._lock:
            versions = self._documents.setdefault((self.namespace, path), [])
            versions.append(Version(dict(data), _now()))
            return len(versions)

    def change(self, path: str, changes: Mapping[str, Any]) -> int:
        """A new version with some fields added or replaced."""
        return self.put(path, {**(self.get(path) or {}), **changes})

    def get(self, path: str) -> dict[str, Any] | None:
        """The current version of a document."""
        found = self._documents.get((self.namespace, path))
        return found[-1].data if found and not _is_gone(found[-1]) else None

    def version(self, path: str) -> int:
        """The number of the current version, 0 for none."""
        return len(self._documents.get((self.namespace, path), []))

    def delete(self, path: str, *versions: int) -> None:
        """Delete versions, the current one if none is named, as `vault kv delete`."""
        for version in self._chosen(path, versions):
            version.deleted = _now()

    def undelete(self, path: str, *versions: int) -> None:
        for version in self._chosen(path, versions):
            version.deleted = ""

    def destroy(self, path: str, *versions: int) -> None:
        for version in self._chosen(path, versions):
            version.destroyed, version.data = True, {}

    def wipe(self, path: str) -> None:
        """Forget a document with all its versions, as `vault kv metadata delete`: the next one is 1 again."""
        with self._lock:
            self._documents.pop((self.namespace, path), None)

    def approle(self, *, lease: int = 1200, renewable: bool = True) -> dict[str, str]:
        """Make a role; gives the variables with which a command logs in, in place of VAULT_TOKEN."""
        role, secret = secrets.token_hex(16), secrets.token_hex(16)
        self._roles[role] = secret, Token(lease, renewable)
        return {"VAULT_ROLE_ID": role, "VAULT_SECRET_ID": secret}

    def new_token(self, *, lease: int = 0, renewable: bool = False) -> str:
        token = f"hvs.{secrets.token_urlsafe(24)}"
        self.tokens[token] = Token(lease, renewable)
        return token

    def revoke(self, *tokens: str) -> None:
        """Forget tokens; without any, all but the root token."""
        for token in tokens or [name for name in self.tokens if name != self.token]:
            self.tokens.pop(token, None)

    def answer(self, path: str, answer: Answer, times: int = 1_000_000) -> None:
        """Answer so, that many times, where a pattern is found in METHOD and path (`GET kv/data/atlas/…`)."""
        self._instead.append((re.compile(path), answer, times))

    def behave(self) -> None:
        """Answer as is right again, and forget what was asked so far."""
        self._instead.clear()
        self.denied.clear()
        self.log.clear()
        self.most_at_once = 0
        self.sealed = False

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count who is being answered."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def asked(self, pattern: str = "") -> list[str]:
        """METHOD and path of all requests so far in which a pattern is found."""
        said = [f"{asked.method} {asked.path}" for asked in self.log]
        return [line for line in said if re.search(pattern, line)]

    def start(self) -> None:
        """Listen, on the same port as before."""
        handler = type("Handler", (_Handler,), {"vault": self})
        server = _Server(("127.0.0.1", self._port), handler)
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Go away: nothing listens on the port any more."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.close_all()
            self._thread.join()
            self._server = self._thread = None

    # ----------------------------------------------------------------------------------- the API

    def handle(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer, Asked]:
        """The answer to a request, which is noted."""
        path = unquote(urlsplit(target).path).removeprefix("/v1/")
        token, namespace = headers.get("X-Vault-Token", ""), headers.get("X-Vault-Namespace", "")
        instead = self._instead_of(f"{method} {path}")
        if instead and not instead.after:
            answer = instead
        else:
            query = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
            answer = self._right(method, path, token, namespace.strip("/"), query, body)
            answer = instead or answer
        asked = Asked(method, path, token, namespace, dict(headers), answer.status)
        with self._lock:
            self.log.append(asked)
        return answer, asked

    def _instead_of(self, line: str) -> Answer | None:
        with self._lock:
            for index, (pattern, answer, times) in enumerate(self._instead):
                if pattern.search(line) and times:
                    self._instead[index] = (pattern, answer, times - 1)
                    return answer
        return None

    def _right(
        self, method: str, path: str, token: str, namespace: str, query: Mapping[str, str], body: bytes
    ) -> Answer:
        try:
            with self._lock:
                return Answer(200, self._data(method, path, token, namespace, query, body))
        except _EndError as end:
            return Answer(end.status, end.body if end.body is not None else b"")

    def _data(
        self, method: str, path: str, token: str, namespace: str, query: Mapping[str, str], body: bytes
    ) -> Mapping[str, Any]:
        if path in {"sys/health", "sys/seal-status"}:
            state = {"initialized": True, "sealed": self.sealed, "standby": False, "version": "1.21.1"}
            if self.sealed and path == "sys/health":
                raise _EndError(503, state)
            return state
        if self.sealed:
            raise _error(503, "Vault is sealed")
        given = self._parsed(body)
        if path == "auth/approle/login":
            return self._login(given)
        if token not in self.tokens:
            raise _error(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
        if any(
            path == denied or (denied.endswith("/") and path.startswith(denied)) for denied in self.denied
        ):
            raise _error(403, DENIED)
        if path.startswith("auth/token/"):
            return self._token(method, path, token)
        mount, _, rest = path.partition("/")
        kind, _, name = rest.partition("/")
        if mount != MOUNT or not name:
            raise _error(404, f'no handler for route "{path}". route entry not found.')
        return _whole(data=self._kv(method, kind, (namespace, name), query, given))

    @staticmethod
    def _parsed(body: bytes) -> dict[str, Any]:
        try:
            given = json.loads(body or b"{}")
        except ValueError:
            raise _error(400, "error parsing JSON") from None
        if not isinstance(given, dict):
            raise _error(400, "error parsing JSON")
        return given

    def _login(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        secret, lease = self._roles.get(given.get("role_id", ""), (None, Token()))
        if secret is None or secret != given.get("secret_id"):
            raise _error(400, "invalid role or secret ID")
        token = self.new_token(lease=lease.lease, renewable=lease.renewable)
        return _whole(auth=self._auth(token))

    def _auth(self, token: str) -> dict[str, Any]:
        lease = self.tokens[token]
        return {
            "client_token": token,
            "accessor": secrets.token_hex(12),
            "policies": ["default", "metis"],
            "token_policies": ["default", "metis"],
            "metadata": {"role_name": "metis"},
            "lease_duration": lease.lease,
            "renewable": lease.renewable,
            "token_type": "service",
        }

    def _token(self, method: str, path: str, token: str) -> Mapping[str, Any]:
        lease = self.tokens[token]
        if (method, path) == ("GET", "auth/token/lookup-self"):
            about = {"id": token, "ttl": lease.lease, "renewable": lease.renewable, "policies": ["metis"]}
            return _whole(data=about)
        if (method, path) == ("POST", "auth/token/renew-self"):
            if not lease.renewable:
                raise _error(400, "lease is not renewable")
            return _whole(auth=self._auth(token))
        raise _error(405, "unsupported operation")

    def _kv(
        self,
        method: str,
        kind: str,
        key: tuple[str, str],
        query: Mapping[str, str],
        given: Mapping[str, Any],
    ) -> Mapping[str, Any] | None:
        actions: dict[tuple[str, str], Callable[[], Mapping[str, Any]]] = {
            ("GET", "data"): lambda: self._read(key, int(query.get("version", 0))),
            ("POST", "data"): lambda: self._write(key, given),
            ("PUT", "data"): lambda: self._write(key, given),
            ("GET", "metadata"): lambda: self._metadata(key),
            ("DELETE", "data"): lambda: self._marked(self.delete, key, ()),
            ("POST", "delete"): lambda: self._marked(self.delete, key, given["versions"]),
            ("POST", "undelete"): lambda: self._marked(self.undelete, key, given["versions"]),
            ("POST", "destroy"): lambda: self._marked(self.destroy, key, given["versions"]),
            ("PUT", "destroy"): lambda: self._marked(self.destroy, key, given["versions"]),
            ("DELETE", "metadata"): lambda: self._forget(key),
        }
        if (method, kind) not in actions:
            raise _error(405, "unsupported operation")
        return actions[method, kind]()

    def _read(self, key: tuple[str, str], number: int) -> Mapping[str, Any]:
        versions = self._documents.get(key, [])
        number = number or len(versions)
        if not 0 < number <= len(versions):
            raise _error(404)
        found = versions[number - 1]
        metadata = {**found.metadata(), "custom_metadata": None, "version": number}
        if _is_gone(found):
            raise _EndError(404, _whole(data={"data": None, "metadata": metadata}))
        return {"data": found.data, "metadata": metadata}

    def _write(self, key: tuple[str, str], given: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(given.get("data"), dict):
            raise _error(400, "no data provided")
        versions = self._documents.setdefault(key, [])
        wanted = given.get("options", {}).get("cas")
        if wanted is not None and wanted != len(versions):
            raise _error(400, CONFLICT)
        versions.append(Version(given["data"], _now()))
        return {**versions[-1].metadata(), "custom_metadata": None, "version": len(versions)}

    def _metadata(self, key: tuple[str, str]) -> Mapping[str, Any]:
        versions = self._documents.get(key)
        if not versions:
            raise _error(404)
        return {
            "cas_required": False,
            "created_time": versions[0].created,
            "current_version": len(versions),
            "custom_metadata": None,
            "delete_version_after": "0s",
            "max_versions": 0,
            "oldest_version": 0,
            "updated_time": versions[-1].created,
            "versions": {str(number): version.metadata() for number, version in enumerate(versions, 1)},
        }

    def _marked(
        self, mark: Callable[..., None], key: tuple[str, str], numbers: Iterable[int]
    ) -> Mapping[str, Any]:
        if key in self._documents:
            mark(key[1], *numbers)
        raise _EndError(204)

    def _forget(self, key: tuple[str, str]) -> Mapping[str, Any]:
        self._documents.pop(key, None)
        raise _EndError(204)

    def _chosen(self, path: str, numbers: Iterable[int]) -> list[Version]:
        versions = self._documents[self.namespace, path]
        return [versions[number - 1] for number in (numbers or [len(versions)])]


def _now() -> str:
    """As Go writes times, with nine digits."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _is_gone(version: Version) -> bool:
    return version.destroyed or ("" < version.deleted <= _now())


def _whole(**parts: Any) -> dict[str, Any]:
    """A whole answer: what is not given is null."""
    frame = {"request_id": secrets.token_hex(16), "lease_id": "", "renewable": False, "lease_duration": 0}
    return {**frame, "data": None, "wrap_info": None, "warnings": None, "auth": None, **parts}


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that all of them end when it does."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Who asked may go away."""

    def close_all(self) -> None:
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    vault: Vault

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.vault.busy():
            self._give(self.vault.handle(self.command, self.path, dict(self.headers.items()), body)[0])

    def _give(self, answer: Answer) -> None:
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        time.sleep(answer.delay)
        length = {} if answer.status == 204 else {"Content-Length": str(len(content))}
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **length, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        step = answer.drip or len(content) or 1
        for start in range(0, len(content), step):
            self.wfile.write(content[start : start + step])
            self.wfile.flush()
            time.sleep(0.05 if answer.drip else 0)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server calls them so

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # whoever asked may go away
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def vault_server(certificate: Path | None = None, namespace: str = "") -> Iterator[Vault]:
    """A Vault while the block runs; with a certificate (and its key in one file) over TLS.

    With a namespace, `put` and `get` mean the documents of that one.
    """
    with kept_port() as port:
        vault = Vault(port, certificate, namespace)
        vault.start()
        try:
            yield vault
        finally:
            vault.stop()


def opened(
    variables: Mapping[str, str],
    folder: Path,
    *,
    keeps_copies: bool = True,
    timeout: float = PATIENCE,
    **options: Any,
) -> OwnVault:
    """The source that a command with these variables works with; copies and their key are in the folder."""
    private = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
    place = Settings.from_environment({**private, **variables}, folder).secrets
    assert isinstance(place, VaultPlace)
    copies = Copies(place.folder, AgeKeys(place.identity, tuple, makes_key=True))
    access = replace(place.access, timeout=timeout)
    return OwnVault(access, copies, keeps_copies=keeps_copies, **options)
