"""One registry of artifacts: what is pulled from it and pushed to it.

Whoever asks for a manifest compares its digest. Blobs come by `golden.download`, which resumes; here is only
what that needs to know. How a registry is told who asks is in `client`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin

from ...errors import RefusedError, SourceError
from ...machine.progress import Advance, Reporter
from ..asking import PASSING, USUAL, BrokenError, Login, Manners, same_server, words
from ..backoff import Patience
from ..headers import retry_after
from ..source import AbsentError, DeniedError
from .access import RegistryAccess
from .artifact import DOCKER_MANIFEST, INDEX, MANIFEST
from .client import Client
from .session import origin_of

if TYPE_CHECKING:
    from requests import Response

_ACCEPTED = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST))
_BYTES = {"Content-Type": "application/octet-stream"}


class Registry:
    """A registry by its host and port. Safe to use from threads."""

    def __init__(self, host: str, access: RegistryAccess, reporter: Reporter) -> None:
        self.host = host
        self._access = access
        self._reporter = reporter
        self._lock = threading.Lock()
        self._origin = ""
        self._clients: dict[str, Client] = {}

    # ------------------------------------------------------------------------------------- pulling

    def manifest(self, repository: str, reference: str, manners: Manners = USUAL) -> tuple[bytes, str]:
        """The bytes of a manifest, by tag or digest, and what the registry says is their digest, if anything.

        Raises SourceError where the registry has none, lets us not in or cannot be reached.
        """
        path, headers = f"manifests/{reference}", {"Accept": _ACCEPTED}
        response = self._ask("GET", repository, path, manners, headers=headers)
        self._need(response, repository, f"{repository}:{reference}", HTTPStatus.OK)
        return response.content, response.headers.get("Docker-Content-Digest", "")

    def blob_url(self, repository: str, digest: str, manners: Manners = USUAL) -> str:
        """Where the bytes with a digest are."""
        return f"{self._reached(manners)}/v2/{repository}/blobs/{digest}"

    def login(self, repository: str, digest: str, manners: Manners = USUAL) -> Login:
        """How a download of such bytes says who asks."""
        client, url = self._client(repository, manners), self.blob_url(repository, digest, manners)

        def headers(is_refused: bool) -> Mapping[str, str]:
            if is_refused:
                client.forget()
                client.send("HEAD", url)
            return client.proof()

        return Login(headers, self._access.authority, client.hint)

    # ------------------------------------------------------------------------------------- pushing

    def push_blob(self, repository: str, digest: str, file: Path, advance: Advance) -> None:
        """Upload a file whose digest is known, unless the registry has it already."""
        if self._ask("HEAD", repository, f"blobs/{digest}").status_code == HTTPStatus.OK:
            advance(file.stat().st_size)
            return
        patience, client = self._patience(USUAL), self._client(repository, USUAL)
        while True:
            begun = self._ask("POST", repository, "blobs/uploads/")
            self._need(begun, repository, repository, HTTPStatus.ACCEPTED)
            place = self._upload_place(begun, digest)
            try:
                with file.open("rb") as content:
                    put = client.send("PUT", place, data=_Counted(content, advance), headers=_BYTES)
                self._need(put, repository, repository, HTTPStatus.CREATED)
            except BrokenError as error:
                patience.wait(error.reason, 0)
            else:
                return

    def push_manifest(self, repository: str, tag: str, content: bytes, digest: str) -> None:
        """Publish a manifest under a tag; whatever it refers to is there already."""
        headers = {"Content-Type": MANIFEST}
        put = self._ask("PUT", repository, f"manifests/{tag}", data=content, headers=headers)
        self._need(put, repository, f"{repository}:{tag}", HTTPStatus.CREATED)
        if put.headers.get("Docker-Content-Digest", digest) != digest:
            hint = "see what stands before it"
            raise SourceError(f"{self.host} changed the manifest that was pushed", hint)

    def _upload_place(self, begun: Response, digest: str) -> str:
        from requests import Request

        place = urljoin(begun.url, begun.headers.get("Location", ""))
        if not same_server(place, self._reached(USUAL)):
            hint = "check its settings"
            raise RefusedError(f"{self.host} wants what is pushed to go to another host", hint)
        return str(Request("PUT", place, params={"digest": digest}).prepare().url)

    # -------------------------------------------------------------------------------------- asking

    def _patience(self, manners: Manners) -> Patience:
        return Patience(self.host, self._reporter, manners.sleep, manners.tries)

    def _reached(self, manners: Manners) -> str:
        """The registry's origin; it is found out once."""
        with self._lock:
            if not self._origin:
                self._origin = origin_of(self.host, self._access, self._patience(manners))
            return self._origin

    def _client(self, repository: str, manners: Manners) -> Client:
        """Who asks about a repository: a token is for just one."""
        origin = self._reached(manners)
        with self._lock:
            if repository not in self._clients:
                self._clients[repository] = Client(self.host, origin, self._access)
            return self._clients[repository]

    def _ask(
        self,
        method: str,
        repository: str,
        path: str,
        manners: Manners = USUAL,
        **more: Any,  # noqa: ANN401 - as requests has them
    ) -> Response:
        """The answer of the registry's interface; again after a passing trouble."""
        patience, client = self._patience(manners), self._client(repository, manners)
        url = f"{self._reached(manners)}/v2/{repository}/{path}"
        while True:
            try:
                response = client.send(method, url, **more)
                status = response.status_code
                if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    wait = retry_after(response.headers.get("Retry-After"))
                    raise BrokenError(f"it answered {words(status)}", wait)
            except BrokenError as error:
                patience.wait(error.reason, 0, error.at_least)
            else:
                return response

    def _need(self, response: Response, repository: str, what: str, status: HTTPStatus) -> None:
        code = response.status_code
        if code == status:
            return
        if code == HTTPStatus.NOT_FOUND:
            raise AbsentError(f"{self.host} has no {what}", "check its name, and what the registry has")
        said = f"{self.host} answered {words(code)} for {what}"
        if code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise DeniedError(said, self._client(repository, USUAL).hint)
        raise SourceError(said, "see its log")


class Registries:
    """The registries of one run; who logs in to one does so once."""

    def __init__(self, access: RegistryAccess, reporter: Reporter) -> None:
        self._access = access
        self._reporter = reporter
        self._known: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def at(self, host: str) -> Registry:
        """The registry at a host and port."""
        with self._lock:
            if host not in self._known:
                self._known[host] = Registry(host, self._access, self._reporter)
            return self._known[host]


class _Counted:
    """A file that tells how far it is read, with its length (requests then sends no chunks)."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance

    def __len__(self) -> int:
        """Asked for each time that it is sent: it begins again."""
        self._file.seek(0)
        return os.fstat(self._file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data
