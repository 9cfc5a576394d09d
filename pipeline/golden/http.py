"""Goldens from the web: `http:` and `https:`, hashed as they arrive, resumed after a break, retried.

Redirects are followed here and not by requests, which would follow one to plain HTTP, and reads the whole
body of each. Credentials come from ~/.netrc and proxies from the environment, as requests has it.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..errors import SourceError
from ..progress import Reporter
from . import headers
from . import url as urls
from .backoff import Patience, Sleep
from .partial import Partial

if TYPE_CHECKING:
    from requests import Response, Session

PIECE = 1 << 16
"""Bytes to take at once; up to so many are lost when a connection is cut."""
REDIRECTS = 10
CONNECT, SILENCE = 10.0, 60.0
"""Seconds to wait for a connection, and for the next bytes on it."""
_MOVED = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})


class _BrokenError(Exception):
    """Something that another try may mend: why, and how many seconds the server wants us to wait."""

    def __init__(self, reason: str, at_least: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_least = at_least


class HttpSource:
    """A file on a web server."""

    recipe: ClassVar[None] = None
    remote: ClassVar[bool] = True

    def __init__(self, source: str, *, sleep: Sleep = time.sleep, silence: float = SILENCE) -> None:
        self._url = urls.checked(source)
        self.name = urls.masked(source)
        self._sleep = sleep
        self._timeout = (CONNECT, silence)

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Download what is missing of the file; what has arrived stays through errors and restarts."""
        patience = Patience(self.name, reporter, self._sleep)
        with Partial(into, self.name, reporter, limit) as partial, _session() as session:
            while not partial.whole:
                try:
                    with self._answer(session, headers.wanted(partial)) as response:
                        self._check(response, partial)
                        _take(response, partial, self.name, reporter)
                    if partial.total is None:
                        break  # the server never said how much there is: the hash will tell
                    if not partial.whole:
                        raise _BrokenError("the connection was cut")
                except _BrokenError as error:
                    patience.wait(error.reason, partial.size, error.at_least)
            return partial.sha256

    def _answer(self, session: Session, asked: dict[str, str]) -> Response:
        """The answer at the end of all redirects; its body has not been read."""
        import urllib3

        address = self._url
        for _ in range(REDIRECTS + 1):
            try:
                response = session.get(address, headers=asked, stream=True, timeout=self._timeout)
            except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                # Their texts hold the URL with its query: none of them goes into ours, nor into a traceback.
                raise _explained(error, self.name) from None
            location = response.headers.get("Location")
            if response.status_code not in _MOVED or location is None:
                return response
            response.close()
            address = urls.redirected(address, location.encode("latin-1").decode(errors="replace"))
        raise SourceError(f"{self.name} redirects more than {REDIRECTS} times")

    def _check(self, response: Response, partial: Partial) -> None:
        """Make `partial` ready for the body, or say why there is none (RFC 9110, 15)."""
        status = response.status_code
        if status == HTTPStatus.OK:
            partial.begin(headers.validator(response.headers), headers.length(response.headers))
        elif status == HTTPStatus.PARTIAL_CONTENT and headers.continues(response.headers, partial):
            pass
        elif status in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            partial.begin("", None)
            raise _BrokenError("it cannot go on where the download broke off")
        elif status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait = headers.retry_after(response.headers.get("Retry-After"))
            raise _BrokenError(f"it answered {_words(status)}", wait)
        else:
            denied = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
            hint = "put credentials for it into ~/.netrc" if denied else "check the address in the inventory"
            raise SourceError(f"{self.name} answered {_words(status)}", hint)


def _session() -> Session:
    import requests

    class OneAnswer(requests.Session):
        """Gives redirects as they are, with their bodies unread."""

        def get_redirect_target(self, resp: Response) -> None:
            return None

    session = OneAnswer()
    # The bytes as published: a server that packs them once more would change their hash.
    session.headers.update({"User-Agent": "metis", "Accept-Encoding": "identity"})
    return session


def _take(response: Response, partial: Partial, name: str, reporter: Reporter) -> None:
    """Append the body to `partial`, without undoing any Content-Encoding."""
    import urllib3

    with reporter.step(f"fetching {name}", partial.total) as advance:
        advance(partial.size)
        while True:
            try:
                data = response.raw.read(PIECE, decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                raise _explained(error, name) from None
            if not data:
                return
            partial.append(data)
            advance(len(data))


def _words(status: int) -> str:
    known = {entry.value: entry.phrase for entry in HTTPStatus}
    return f"{status} {known[status]}" if status in known else str(status)


def _explained(error: Exception, name: str) -> Exception:
    """Put what went wrong on the way into our own words; a bad certificate will not mend by itself."""
    import requests
    from urllib3 import exceptions

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SourceError(
            f"the certificate of {name} cannot be verified",
            "set REQUESTS_CA_BUNDLE to your own authority's certificate, and check the clock",
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
        return _BrokenError("its name cannot be resolved")
    if isinstance(cause, exceptions.NewConnectionError):
        return _BrokenError("nothing answers there")
    if isinstance(error, requests.Timeout | exceptions.TimeoutError):
        return _BrokenError("it did not answer in time")
    return _BrokenError("the connection was cut")
