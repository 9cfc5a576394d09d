"""A stand-in for a cluster's API server: its REST paths over TLS, for the real client.

What it does not know, it refuses, so that no test passes by asking for something else. What objects do is in
`apiserver_objects`, what may go wrong in `apiserver_faults`, who may do what in `rbac`.
"""

from __future__ import annotations

import base64
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.apiserver_faults import Answer
from tests.support.apiserver_objects import RESOURCES, Object, Place, RefusalError, Store
from tests.support.apiserver_requests import Request
from tests.support.apiserver_wire import Handler
from tests.support.certificate import make_certificate, make_client_certificate
from tests.support.ports import kept_port
from tests.support.rbac import Attempt, Grant, allows, grants_of


class ApiServer:
    """One cluster. `requests` are all that came, in the order in which they did."""

    def __init__(self, certificate: Path, port: int) -> None:
        self.store = Store()
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._certificate = certificate
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.verify_mode = ssl.CERT_OPTIONAL  # who has a token needs none
        self._grants: tuple[Grant, ...] | None = None
        self._faults: list[tuple[Callable[[Request], bool], Answer, list[int]]] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = port

    # ------------------------------------------------------------------------------- for tests

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def authority(self) -> Path:
        """The certificate of who vouches for it, in PEM."""
        return Path(f"{self._certificate}.crt")

    @property
    def changes(self) -> list[Request]:
        """The requests that changed something."""
        return [request for request in self.requests if request.changed]

    def kubeconfig(self, folder: Path, user: str = "metis") -> Path:
        """A file for KUBECONFIG by which one is `user`; private, as it has a token."""
        return self._kubeconfig(folder / f"kubeconfig-{user}", user, {"token": self.token(user)})

    def kubeconfig_with_certificate(self, folder: Path, user: str = "metis") -> Path:
        """The same with a certificate and its key, in the file itself, as that of k3s has them."""
        certificate, key = make_client_certificate(folder, user)
        self._context.load_verify_locations(certificate)
        about = {"client-certificate-data": _packed(certificate), "client-key-data": _packed(key)}
        key.unlink()
        return self._kubeconfig(folder / f"kubeconfig-{user}", user, about)

    def _kubeconfig(self, file: Path, user: str, about: dict[str, str]) -> Path:
        cluster = {"server": self.url, "certificate-authority-data": _packed(self.authority)}
        context = {"cluster": "lab", "user": user}
        words = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": context}],
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": user, "user": about}],
        }
        file.touch(0o600)
        file.write_text(yaml.safe_dump(words))
        return file

    @staticmethod
    def token(user: str = "metis") -> str:
        """What a user shows; it is to be seen nowhere."""
        return f"canary-token-of.{user}"

    def put(self, item: Object, manager: str = "k3s") -> Object:
        """Create or replace an object as another client does."""
        return self.store.put(item, manager)

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """A copy of an object; raises LookupError where there is none."""
        try:
            return self.store.get(Place(RESOURCES[kind], namespace, name))
        except RefusalError as refused:
            raise LookupError(str(refused)) from None

    def has(self, kind: str, name: str, namespace: str = "") -> bool:
        """Whether there is such an object."""
        with suppress(LookupError):
            return bool(self.get(kind, name, namespace))
        return False

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object as another client does."""
        self.store.delete(Place(RESOURCES[kind], namespace, name), {})

    def compact(self) -> None:
        """Forget what was: from now on, watches and pages from before are refused (410)."""
        self.store.compact()

    def fail(self, when: str | Callable[[Request], bool], answer: Answer, times: int = 1) -> None:
        """Answer the next requests that fit otherwise: see `apiserver_faults`.

        `when` is a function, or a pattern of VERB RESOURCE/NAME: "get nodes/titan-13", "watch *".
        """
        fits = when if callable(when) else lambda request: fnmatchcase(request.subject, when)
        with self._lock:
            self._faults.append((fits, answer, [times]))

    def grant(self, *files: Path) -> None:
        """Allow from now on only what the roles in these YAML files do."""
        self._grants = grants_of(each for file in files for each in yaml.safe_load_all(file.read_text()))

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.stopping.clear()
        handler = type("BoundHandler", (Handler,), {"cluster": self})
        self._server = _Server(("127.0.0.1", self._port), handler, self._context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Die: cut every connection, and refuse new ones until `start`."""
        if self._server is None or self._thread is None:
            return
        self.stopping.set()
        with self.store.changed:
            self.store.changed.notify_all()
        self._server.shutdown()
        self._server.cut()
        self._server.server_close()
        self._thread.join()
        self._server = None

    # --------------------------------------------------------------------------- for its handler

    def fault_for(self, request: Request) -> Answer | None:
        """The fault that a request meets, which is used up a little by it."""
        with self._lock:
            for fits, answer, left in self._faults:
                if left[0] and fits(request):
                    left[0] -= 1
                    return answer
        return None

    def check(self, request: Request) -> None:
        """Raise RefusalError for what no role allows; /readyz and /version are everybody's."""
        if self._grants is None or not request.resource:
            return
        about = request.place
        name = about.name or str(request.selector.get("metadata.name", ""))
        if allows(self._grants, Attempt(request.verb, about.resource, about.namespace, name)):
            return
        where = f'in the namespace "{about.namespace}"' if about.namespace else "at the cluster scope"
        named = f'{about.resource} "{name}"' if name else about.resource
        message = (
            f'{named} is forbidden: User "{request.user}" cannot {request.verb} resource "{about.resource}" '
            f'in API group "" {where}'
        )
        details = {"name": name} if name else {}
        raise RefusalError(403, "Forbidden", message, **details, kind=about.resource)


class _Server(ThreadingHTTPServer):
    """Speaks TLS in the thread of each connection, and knows the connections that it can cut."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], context: ssl.SSLContext) -> None:
        self._context = context
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError), self._context.wrap_socket(request, server_side=True) as secure:
            self._open.discard(request)  # the other owns the descriptor now
            self._open.add(secure)
            try:
                super().finish_request(secure, client_address)
            finally:
                self._open.discard(secure)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _packed(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Have a cluster's API server while the block runs."""
    with tempfile.TemporaryDirectory() as folder, kept_port() as port:
        server = ApiServer(make_certificate(Path(folder)), port)
        server.start()
        try:
            yield server
        finally:
            server.stop()
