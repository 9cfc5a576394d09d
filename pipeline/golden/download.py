"""One file from a web server: hashed as it arrives, resumed after a break, asked for again.

How a server is asked is in `asking`; whose file it is, is the concern of the sources beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import SourceError
from ..machine import web
from ..machine.loopback import is_loopback
from ..machine.progress import Reporter
from ..wording import masked
from . import headers, urls
from .asking import (
    CONNECT,
    NO_PROXY,
    PASSING,
    USUAL,
    BrokenError,
    Login,
    Manners,
    explained,
    same_server,
    session,
    words,
)
from .backoff import Patience
from .partial import Partial
from .source import AbsentError, DeniedError

if TYPE_CHECKING:
    from requests import Response, Session

REDIRECTS = 10
_MOVED = frozenset({301, 302, 303, 307, 308})


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
        place = masked(self._url)
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
        return {"auth": web.as_it_is, "verify": authority, "proxies": dict(NO_PROXY) if is_here else None}

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


def _take(response: Response, partial: Partial, name: str, reporter: Reporter) -> None:
    """Append the body to `partial`."""
    import urllib3

    with reporter.step(f"fetching {name}", partial.total) as advance:
        advance(partial.size)
        try:
            for data in web.pieces(response):
                partial.append(data)
                advance(len(data))
        except urllib3.exceptions.HTTPError as error:
            raise explained(error, name) from None
