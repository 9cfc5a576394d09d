"""How the API of a cluster is spoken to: with bounds, with patience where it may help, and our own errors.

The client of `kubernetes` knows who asks and by which certificates, and holds the connections; what it would
make of the answers has no bound. Nothing of a token or a header is in an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..errors import SourceError, cut
from ..machine import web
from .faults import UnreachableError, explained, strange, too_large, unreachable
from .port import ForbiddenError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from .kubeconfig import Access

TRIES = 4
PAUSE = 0.25
"""Seconds before the second try; before each further one they double."""
LONGEST_PAUSE = 10.0
"""Seconds to wait at most, whatever Retry-After says."""
PATIENCE = 30.0
"""Seconds in which the last try begins, and in which one answer must be whole."""
CONNECT, SILENCE, SOONEST = 5.0, 10.0, 0.1
"""Seconds that a server may take to accept us, that it may be silent, and at least may be."""
LARGEST, LONGEST_LINE = 16 << 20, 4 << 20
"""Bytes of an answer, and of a line of a watch; etcd keeps no object of more than 1.5 MiB."""
LONGEST_SAID = 300
"""Characters of what a server says of an error."""
JSON = "application/json"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a pair that stands for one character: alone it is none, and cannot be printed or stored."""
Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its status: success, or one of 4xx that is about the object.

    It was `repeated` where an earlier try may have been heard. `said` is what it says of an error.
    """

    status: int
    value: Value
    repeated: bool
    said: str = ""


class Transport:
    """Requests to one API server. Safe to use from threads."""

    def __init__(self, access: Access) -> None:
        from kubernetes.client import ApiClient

        self.name = str(access.configuration.host)
        self._configuration = access.configuration
        self._pools = ApiClient(access.configuration).rest_client.pool_manager
        self._pools.connection_pool_kw["ssl_context"] = access.tls

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Value | None = None,
        content_type: str = JSON,
        patience: float = PATIENCE,
    ) -> Reply:
        """Ask, and again where that may help: what changes something must bear to be heard twice.

        `patience` is in seconds, for all tries. Raises UnreachableError, ForbiddenError, and SourceError for
        what is no answer of Kubernetes.
        """
        about, pause, until = f"{method} {path}", PAUSE, monotonic() + patience
        for again in range(TRIES):
            wait = 0.0
            try:
                silence = min(SILENCE, until - monotonic())
                response = self._open(method, path, query or {}, silence, body, content_type)
                data = self._taken(response, about)
                wait = _retry_after(response)
                return self._reply(response.status, data, about, repeated=again > 0)
            except UnreachableError as error:
                wait = min(max(pause, wait), LONGEST_PAUSE)
                if again == TRIES - 1 or monotonic() + wait > until:
                    raise error from None
            sleep(wait)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def lines(self, path: str, query: Mapping[str, str], seconds: float) -> Iterator[Value]:
        """Each line of a watch, for at most so many seconds; raises the errors of `ask`, and asks once.

        It ends early where the server ends it, or where it does not go on from there (410).
        """
        about, until = f"GET {path}", monotonic() + seconds
        response = self._open("GET", path, query, seconds)
        try:
            if response.status != HTTPStatus.OK:
                reply = self._reply(response.status, self._taken(response, about), about, repeated=False)
                if reply.status != HTTPStatus.GONE:
                    raise strange(self.name, about)
                return
            left = b""
            for piece in self._pieces(response, about):
                *whole, left = (left + piece).split(b"\n")
                yield from (self._decoded(line, about) for line in whole if line.strip())
                if len(left) > LONGEST_LINE:
                    raise too_large(self.name, about, LONGEST_LINE)
                if monotonic() > until:
                    return
        finally:
            response.close()

    # ------------------------------------------------------------------------------------- parts

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        silence: float,
        body: Value | None = None,
        content_type: str = JSON,
    ) -> BaseHTTPResponse:
        import urllib3

        headers = {**web.HEADERS, "Accept": JSON, **self._login()}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response: BaseHTTPResponse = self._pools.request(
                method,
                f"{self.name}{path}{'?' if query else ''}{urlencode(query)}",
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT, read=max(silence, SOONEST)),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise explained(error, self.name, f"{method} {path}") from None
        return response

    def _login(self) -> dict[str, str]:
        """The header that says who asks; a pod's token is read anew, as it is replaced now and then."""
        from kubernetes.config import ConfigException

        try:
            settings: Iterable[Any] = self._configuration.auth_settings().values()
        except (ConfigException, OSError, ValueError):
            raise SourceError(f"the token for {self.name} cannot be read", "see who took it away") from None
        return {setting["key"]: setting["value"] for setting in settings}

    def _pieces(self, response: BaseHTTPResponse, about: str) -> Iterator[bytes]:
        import urllib3

        try:
            # Not read(): of a chunk whose length is a lie it would take all there is at once.
            while piece := response.read1(web.PIECE, decode_content=False):
                yield piece
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise explained(error, self.name, about) from None

    def _taken(self, response: BaseHTTPResponse, about: str) -> bytes:
        content, until = bytearray(), monotonic() + PATIENCE
        try:
            for piece in self._pieces(response, about):
                content += piece
                if len(content) > LARGEST:
                    raise too_large(self.name, about, LARGEST)
                if monotonic() > until:
                    raise unreachable(self.name, about, "it did not answer in time")
        except SourceError:
            response.close()  # what is left of it is not for the next request
            raise
        return bytes(content)

    def _reply(self, status: int, data: bytes, about: str, *, repeated: bool) -> Reply:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise unreachable(self.name, about, "it asks for fewer requests (429)")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise unreachable(self.name, about, f"it has a fault of its own ({status})")
        if status == HTTPStatus.UNAUTHORIZED:
            what = f"{self.name} does not know who asks for {about} (401)"
            raise ForbiddenError(what, "KUBECONFIG may be of old: its token or certificate expires")
        if status == HTTPStatus.FORBIDDEN:
            what = f"{self.name} does not let us do {about} (403){self._said(data)}"
            raise ForbiddenError(what, "give whoever asks the ClusterRole in deploy/kubernetes/rights")
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise strange(self.name, about)
        said = self._said(data) if status >= HTTPStatus.BAD_REQUEST else ""
        return Reply(status, self._decoded(data, about), repeated, said)

    def _decoded(self, data: bytes, about: str) -> Value:
        try:
            value = json.loads(data.decode())
            if _HALF.search(data):
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise strange(self.name, about) from None
        if not isinstance(value, dict):
            raise strange(self.name, about)
        return value

    def _said(self, data: bytes) -> str:
        """What a Status says, after a colon: nothing where it is none, or where our own token is in it."""
        try:
            message = self._decoded(data, "").get("message")
        except SourceError:  # of a proxy in between: refused is refused
            return ""
        tokens = [str(each).rpartition(" ")[2] for each in self._configuration.api_key.values()]
        if not isinstance(message, str) or any(token and token in message for token in tokens):
            return ""
        return f": {cut(message, LONGEST_SAID)}"


def _retry_after(response: BaseHTTPResponse) -> float:
    """Seconds (RFC 9110, 10.2.3); a date is as good as nothing."""
    said = str(response.headers.get("Retry-After", ""))
    return float(said) if said.isascii() and said.isdigit() and len(said) < len("1000000") else 0.0
