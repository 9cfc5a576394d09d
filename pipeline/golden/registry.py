"""One registry of artifacts, asked through oras: its login, manifests and uploads.

oras checks no digest, takes answers of any size and follows them anywhere: what it sends goes through
`registry_session`, which does not, and whoever asks for a manifest compares its digest. Blobs come by
`download`, which resumes; here is only what that needs to know.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from ..errors import MetisError, RefusedError, SourceError
from ..progress import Advance, Reporter
from ..registry_access import RegistryAccess
from .backoff import Patience
from .credentials import credentials
from .download import PASSING, USUAL, BrokenError, Login, Manners, explained, words
from .headers import retry_after
from .registry_session import authority, bounded, greeting
from .source import AbsentError

if TYPE_CHECKING:
    from requests import Response

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_ACCEPTED = (MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json")
_BYTES = {"Content-Type": "application/octet-stream"}


class Registry:
    """A registry by its host and port. Safe to use from threads."""

    def __init__(
        self, host: str, access: RegistryAccess, reporter: Reporter, manners: Manners = USUAL
    ) -> None:
        self.host = host
        self._access = access
        self._reporter = reporter
        self._manners = manners
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------------------- pulling

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """The bytes of a manifest, by tag or digest, and what the registry says is their digest, if anything.

        Raises SourceError where the registry has none, lets us not in or cannot be reached.
        """
        accept = {"Accept": ", ".join(_ACCEPTED)}
        response = self._ask("GET", f"{repository}/manifests/{reference}", headers=accept)
        self._need(response, f"{repository}:{reference}", HTTPStatus.OK)
        return response.content, response.headers.get("Docker-Content-Digest", "")

    def blob_url(self, repository: str, digest: str) -> str:
        """Where the bytes with a digest are."""
        return f"{self._origin}/v2/{repository}/blobs/{digest}"

    def login(self, repository: str, digest: str) -> Login:
        """How a download of such bytes says who asks."""

        def headers(is_refused: bool) -> Mapping[str, str]:
            with self._lock:
                if is_refused:
                    self._forget_token()
                    self._ask("HEAD", f"{repository}/blobs/{digest}")
                return self._proof()

        return Login(headers, self._access.authority, self._hint)

    # ------------------------------------------------------------------------------------- pushing

    def push_blob(self, repository: str, digest: str, file: Path, advance: Advance) -> bool:
        """Upload a file whose digest is known; False where the registry has it already."""
        if self._ask("HEAD", f"{repository}/blobs/{digest}").status_code == HTTPStatus.OK:
            advance(file.stat().st_size)
            return False
        patience = self._patience()
        while True:
            begun = self._ask("POST", f"{repository}/blobs/uploads/")
            self._need(begun, repository, HTTPStatus.ACCEPTED)
            place = self._upload_place(begun, digest)
            try:
                with file.open("rb") as content:
                    put = self._send("PUT", place, data=_Counted(content, advance), headers=_BYTES)
                self._need(put, repository, HTTPStatus.CREATED)
            except BrokenError as error:
                patience.wait(error.reason, 0)
            else:
                return True

    def push_manifest(self, repository: str, tag: str, content: bytes, digest: str) -> None:
        """Publish a manifest under a tag; whatever it refers to is there already."""
        headers = {"Content-Type": MANIFEST}
        put = self._ask("PUT", f"{repository}/manifests/{tag}", data=content, headers=headers)
        self._need(put, f"{repository}:{tag}", HTTPStatus.CREATED)
        if put.headers.get("Docker-Content-Digest", digest) != digest:
            raise SourceError(
                f"{self.host} changed the manifest that was pushed", "see what stands before it"
            )

    def _upload_place(self, begun: Response, digest: str) -> str:
        from requests import Request
        from requests.compat import urljoin

        place = urljoin(f"{self._origin}/", begun.headers.get("Location", ""))
        if urlsplit(place).netloc != urlsplit(self._origin).netloc:
            raise RefusedError(
                f"{self.host} wants what is pushed to go to another host", "check its settings"
            )
        prepared = Request("PUT", place, params={"digest": digest}).prepare()
        return str(prepared.url)

    # -------------------------------------------------------------------------------------- asking

    def _patience(self) -> Patience:
        return Patience(self.host, self._reporter, self._manners.sleep, self._manners.tries)

    def _ask(self, method: str, path: str, **more: Any) -> Response:  # noqa: ANN401 - as requests has them
        """The answer of the registry's interface; again after a passing trouble."""
        patience = self._patience()
        while True:
            try:
                response = self._send(method, f"{self._origin}/v2/{path}", **more)
                status = response.status_code
                if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    wait = retry_after(response.headers.get("Retry-After"))
                    raise BrokenError(f"it answered {words(status)}", wait)
            except BrokenError as error:
                patience.wait(error.reason, 0, error.at_least)
            else:
                return response

    def _send(self, method: str, url: str, **more: Any) -> Response:  # noqa: ANN401
        """One answer; a token that was for less than is asked now is asked for anew."""
        with self._lock:
            response = self._send_once(method, url, **more)
            if response.status_code == HTTPStatus.UNAUTHORIZED and getattr(self._client.auth, "token", None):
                self._forget_token()
                response = self._send_once(method, url, **more)
            return response

    def _send_once(self, method: str, url: str, **more: Any) -> Response:  # noqa: ANN401
        import urllib3

        client = self._client
        headers = {**more.pop("headers", {}), **self._proof()}
        try:
            # Without its retries: they wait minutes for what does not pass.
            response: Response = client.do_request.__wrapped__(client, url, method, headers=headers, **more)
        except MetisError:
            raise
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise explained(error, self.host) from None
        except Exception:  # noqa: BLE001 - oras takes what a registry says for well-formed
            raise SourceError(f"{self.host} does not let us in", self._hint) from None
        return response

    def _need(self, response: Response, what: str, status: HTTPStatus) -> None:
        if response.status_code == status:
            return
        code = response.status_code
        if code == HTTPStatus.NOT_FOUND:
            raise AbsentError(f"{self.host} has no {what}", "check its name, and what the registry has")
        denied = code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        hint = self._hint if denied else "see its log"
        raise SourceError(f"{self.host} answered {words(code)} for {what}", hint)

    @property
    def _hint(self) -> str:
        return f"run `docker login {self.host}`, or set METIS_REGISTRY, METIS_REGISTRY_USER and _PASSWORD"

    def _proof(self) -> Mapping[str, str]:
        """What says who we are, as far as that is known; oras itself says it when it was refused before."""
        auth = self._client.auth
        known = getattr(auth, "token", None) or (self._is_basic and getattr(auth, "_basic_auth", None))
        return auth.get_auth_header() if known else {}

    def _forget_token(self) -> None:
        if not self._is_basic:
            self._client.auth.token = None

    # --------------------------------------------------------------------------------- being let in

    @cached_property
    def _greeting(self) -> tuple[str, str]:
        with self._lock:
            return greeting(self.host, self._access, self._patience())

    @property
    def _origin(self) -> str:
        return self._greeting[0]

    @property
    def _is_basic(self) -> bool:
        return self._greeting[1].lower().startswith("basic")

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - oras's own class
        """oras, without a session of its own."""
        import oras.logger
        import oras.provider

        oras.logger.logger.handler = _say_nothing
        known = credentials(self.host, self._access)
        if self._is_basic and known is None:
            raise SourceError(f"{self.host} wants to know who asks", self._hint)
        client = oras.provider.Registry(
            self.host,
            insecure=self._origin.startswith("http:"),
            tls_verify=authority(self._access),
            auth_backend="basic" if self._is_basic else "token",
        )
        client.session = client.auth.session = bounded(tls=self._origin.startswith("https:"))
        client.auth.headers = client.headers
        if known is not None:
            client.auth.set_basic_auth(known[0], known[1].reveal())
        return client


def _say_nothing(_message: object) -> None:
    """What oras logs holds what registries say, and goes to stderr."""


class _Counted:
    """A file that tells how far it is read, with its length (requests then sends no chunks)."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance

    def __len__(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data
