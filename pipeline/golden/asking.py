"""How web servers are asked: by a session of ours, and what goes wrong is said in our words.

Redirects are followed by whoever asks and not by requests, which would follow one to plain HTTP, and reads
the whole body of each. Proxies come from the environment and credentials from ~/.netrc, as requests has it,
unless a `Login` brings others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import SourceError
from ..machine import web
from .backoff import TRIES, Sleep

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT, SILENCE = 10.0, 60.0
"""Seconds to wait for a connection, and for the next bytes on it."""
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


def same_server(one: str, other: str) -> bool:
    """Whether two URLs have one origin (RFC 6454)."""
    first, second = urlsplit(one), urlsplit(other)
    usual = {"http": 80, "https": 443}
    ports = [part.port or usual.get(part.scheme) for part in (first, second)]
    return (first.scheme, first.hostname, ports[0]) == (second.scheme, second.hostname, ports[1])


def session() -> Session:
    """A session whose redirects are ours to follow, and whose bodies come as they were published."""
    import requests

    class OneAnswer(requests.Session):
        """Gives redirects as they are, with their bodies unread."""

        def get_redirect_target(self, resp: Response) -> None:
            return None

    made = OneAnswer()
    made.headers.update(web.HEADERS)
    return made


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
