"""One file from a web server: hashed as it arrives, resumed after a break, asked for again.

Redirects are followed here and not by requests, which would follow one to plain HTTP, and reads the whole
body of each. Proxies come from the environment and credentials from ~/.netrc, as requests has it, unless a
`Login` brings others. Whose file it is, is the concern of the sources beside this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import SourceError
from ..machine.loopback import is_loopback
from ..machine.progress import Reporter
from . import headers, urls
from .backoff import TRIES, Patience, Sleep
from .partial import Partial
from .source import AbsentError, DeniedError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

PIECE = 1 << 16
"""Bytes to take at once; up to so many are lost when a connection is cut."""
REDIRECTS = 10
CONNECT, SILENCE = 10.0, 60.0
"""Seconds to wait for a connection, and for the next bytes on it."""
_MOVED = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429})
NO_PROXY = {"http": "", "https": "", "all": ""}
"""As requests takes it: not even one of the environment."""


class BrokenError(Exception):
    """Something that another try may mend: why, and how many seconds the server wants us to wait."""

    def __init__(self, reason: str, at_least: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_least = at_least


class UnheardError(BrokenError):
    """Nothing listens there."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a server is told who asks; none of it is told to another one that it redirects to.

    `headers` gives what a request says, with another token where it is told that the last one was refused.
    `authority` is a file with the certificates of who vouches for that server, None for the usual ones.
    `hint` is what to do where the server still refuses.
    """

    headers: Callable[[bool], Mapping[str, str]]
    authority: Path | None
    hint: str


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server is asked: how long it may be silent, in seconds, and how often it is tried in a row.

    Where the caller knows the hash of the whole, a download goes on with what `any_host` has brought.
    """

    sleep: Sleep = time.sleep
    silence: float = SILENCE
    tries: int = TRIES
    any_host: bool = False


USUAL = Manners()


class Download:
    """A file at a URL; `name` is what messages call it."""

    def __init__(self, url: str, name: str, login: Login | None = None, manners: Manners = USUAL) -> None:
        self._url = urls.checked(url)
        self.name = name
        self._login = login
        self._manners = manners
        self._is_refused = False

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Download what is missing of the file, and give the SHA-256 of the whole.

        What has arrived stays through errors and restarts. Raises as `source.Source.fetch` does.
        """
        patience = Patience(self.name, reporter, self._manners.sleep, self._manners.tries)
        place = urls.masked(self._url)
        with (
            Partial(into, place, reporter, limit, any_host=self._manners.any_host) as partial,
            session() as asking,
        ):
            while not partial.whole:
                try:
                    with self._answer(asking, headers.wanted(partial)) as response:
                        self._check(response, partial)
                        _take(response, partial, self.name, reporter)
                    if partial.total is None:
                        break  # the server never said how much there is: the hash will tell
                    if not partial.whole:
                        raise BrokenError("the connection was cut")
                except BrokenError as error:
                    patience.wait(error.reason, partial.size, error.at_least)
            return partial.sha256

    def _answer(self, asking: Session, asked: Mapping[str, str]) -> Response:
        """The answer at the end of all redirects; its body has not been read."""
        import urllib3

        address = self._url
        for _ in range(REDIRECTS + 1):
            try:
                response = asking.get(
                    address,
                    headers={**asked, **self._proof_for(address)},
                    stream=True,
                    timeout=(CONNECT, self._manners.silence),
                    **self._manner_of(address),
                )
            except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                # Their texts hold the URL with its query: none of them goes into ours, nor into a traceback.
                raise explained(error, self.name) from None
            location = response.headers.get("Location")
            if response.status_code not in _MOVED or location is None:
                return response
            response.close()
            address = urls.redirected(address, location.encode("latin-1").decode(errors="replace"))
        raise SourceError(f"{self.name} redirects more than {REDIRECTS} times")

    def _proof_for(self, address: str) -> Mapping[str, str]:
        """What says who asks, where it is the login's own server that is asked."""
        if self._login is None or not same_server(address, self._url):
            return {}
        return self._login.headers(self._is_refused)

    def _manner_of(self, address: str) -> dict[str, Any]:
        """How the login's own server is asked beside that: not as ~/.netrc and the environment have it."""
        if self._login is None or not same_server(address, self._url):
            return {}
        authority = str(self._login.authority) if self._login.authority else None
        is_here = is_loopback(urlsplit(address).hostname or "")
        return {"auth": as_it_is, "verify": authority, "proxies": dict(NO_PROXY) if is_here else None}

    def _check(self, response: Response, partial: Partial) -> None:
        """Make `partial` ready for the body, or say why there is none (RFC 9110, 15)."""
        status = response.status_code
        was_refused, self._is_refused = self._is_refused, status == HTTPStatus.UNAUTHORIZED
        if status == HTTPStatus.OK:
            partial.begin(headers.validator(response.headers), headers.length(response.headers))
        elif status == HTTPStatus.PARTIAL_CONTENT and headers.continues(response.headers, partial):
            pass
        elif status in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            partial.begin("", None)
            raise BrokenError("it cannot go on where the download broke off")
        elif status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait = headers.retry_after(response.headers.get("Retry-After"))
            raise BrokenError(f"it answered {words(status)}", wait)
        elif self._is_refused and self._login is not None and not was_refused:
            raise BrokenError("it wants to know again who asks")  # tokens end sooner than downloads
        elif status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            raise AbsentError(f"{self.name} answered {words(status)}", "check the address in the inventory")
        else:
            said = f"{self.name} answered {words(status)}"
            if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                hint = self._login.hint if self._login else "put credentials for it into ~/.netrc"
                raise DeniedError(said, hint)
            raise SourceError(said, "check the address in the inventory")


def same_server(one: str, other: str) -> bool:
    """Whether two URLs have one origin (RFC 6454)."""
    first, second = urlsplit(one), urlsplit(other)
    usual = {"http": 80, "https": 443}
    ports = [part.port or usual.get(part.scheme) for part in (first, second)]
    return (first.scheme, first.hostname, ports[0]) == (second.scheme, second.hostname, ports[1])


def as_it_is(request: PreparedRequest) -> PreparedRequest:
    """Who asks is said already: requests is not to look into ~/.netrc."""
    return request


def session() -> Session:
    """A session whose redirects are ours to follow, and whose bodies come as they were published."""
    import requests

    class OneAnswer(requests.Session):
        """Gives redirects as they are, with their bodies unread."""

        def get_redirect_target(self, resp: Response) -> None:
            return None

    made = OneAnswer()
    # The bytes as published: a server that packs them once more would change their hash.
    made.headers.update({"User-Agent": "metis", "Accept-Encoding": "identity"})
    return made


def _take(response: Response, partial: Partial, name: str, reporter: Reporter) -> None:
    """Append the body to `partial`, without undoing any Content-Encoding."""
    import urllib3

    with reporter.step(f"fetching {name}", partial.total) as advance:
        advance(partial.size)
        while True:
            try:
                # Not read(): of a chunk whose length is a lie it would take all there is at once.
                data = response.raw.read1(PIECE, decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                raise explained(error, name) from None
            if not data:
                return
            partial.append(data)
            advance(len(data))


def words(status: int) -> str:
    """A status as people know it, such as 404 Not Found."""
    known = {entry.value: entry.phrase for entry in HTTPStatus}
    return f"{status} {known[status]}" if status in known else str(status)


def explained(error: Exception, name: str) -> Exception:
    """What went wrong on the way, in our own words: a SourceError, or what another try may mend."""
    import requests
    from urllib3 import exceptions

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SourceError(
            f"the certificate of {name} cannot be verified",
            "set REQUESTS_CA_BUNDLE to your own authority's certificate (METIS_REGISTRY_CA for a registry), "
            "and check the clock",
        )
    said_badly = isinstance(error, requests.exceptions.InvalidHeader)  # by the server, so not our address
    asked_badly = isinstance(error, ValueError) and not said_badly
    if asked_badly or not isinstance(error, requests.RequestException | exceptions.HTTPError):
        # An address or a proxy that cannot be used, or a REQUESTS_CA_BUNDLE that is not there.
        return SourceError(
            f"{name} cannot be asked for",
            "check the address, and the proxies and REQUESTS_CA_BUNDLE in the environment",
        )
    cause = getattr(error.args[0] if error.args else None, "reason", error)
    if isinstance(cause, exceptions.NameResolutionError):
        return BrokenError("its name cannot be resolved")
    if isinstance(cause, exceptions.NewConnectionError):
        return UnheardError("nothing answers there")
    if isinstance(error, requests.Timeout | exceptions.TimeoutError):
        return BrokenError("it did not answer in time")
    return BrokenError("the connection was cut")
