"""One snapshot to the service: POST over https, with a token from a file.

The certificate is always verified, redirects are never followed (the token would go along), no proxy is
asked, and of the answer nothing is read but its status and its headers, within one deadline. What is done
with an answer is in `courier`.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import stat
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import __version__
from .courier import Answer
from .errors import SentinelError, one_line, reason_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SECONDS = 30.0
"""How long the service may take for each step of a request, and for its whole answer."""
LONGEST_WAIT = 3600.0
"""Seconds: no Retry-After is obeyed for longer."""
_TAKEN = frozenset({*range(200, 300), 409})
"""The service has it; with 409 since an earlier delivery."""
_REFUSED = frozenset({400, 413, 422})
"""The service will never take this snapshot."""
_BUSY = frozenset({429, 503})
_TOKEN_LARGEST = 8192
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Service:
    """The service at a URL. Raises SentinelError for a URL that is none, or that a token must not go to."""

    def __init__(
        self, url: str, token_file: Path | None = None, ca: Path | None = None, seconds: float = SECONDS
    ) -> None:
        self.host, self._port, self._target = _parts(url)
        self._token_file = token_file
        self._ca = ca
        self._seconds = seconds
        self._context: ssl.SSLContext | None = None

    def post(self, identity: str, data: bytes) -> Answer:
        """Send a snapshot; who gets it twice knows it by `identity`.

        Raises SentinelError when that cannot even be tried: no token, no certificates.
        """
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": identity,
            "User-Agent": f"metis-sentinel/{__version__}",
            "Connection": "close",
            **self._authorization(),
        }
        connection = http.client.HTTPSConnection(
            self.host, self._port, timeout=self._seconds, context=self._trust()
        )
        try:
            return _verdict(*self._exchange(connection, headers, data))
        except ssl.SSLEOFError:
            return Answer(why="the connection ended early")
        except ssl.SSLError as error:
            self._context = None  # the certificates in the file may be newer by the next time
            said = getattr(error, "verify_message", "") or error.reason or "the connection is not secure"
            return Answer(why=one_line(f"TLS: {said.lower()}"))
        except OSError as error:
            return Answer(why=one_line(reason_of(error)))
        except (http.client.HTTPException, ValueError):
            return Answer(why="what answers does not speak HTTP")
        finally:
            connection.close()

    def _exchange(
        self, connection: http.client.HTTPSConnection, headers: dict[str, str], data: bytes
    ) -> tuple[int, str]:
        """The status of the answer, and its Retry-After."""
        connection.connect()
        broken = None
        try:
            connection.request("POST", self._target, body=data, headers=headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            broken = error  # who finds the body too large may say so and hang up before all of it is sent
        if isinstance(connection.sock, _Timed):
            connection.sock.deadline = time.monotonic() + self._seconds
        try:
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise broken or error from None
        with response:
            return response.status, response.headers.get("Retry-After", "")

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {read_token(self._token_file)}"} if self._token_file else {}

    def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._ca)
            except OSError as error:
                raise SentinelError(
                    f"cannot read the certificates of {self._ca}: {reason_of(error)}", "see --ca"
                ) from None
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._context.sslsocket_class = _Timed
        return self._context


class _Timed(ssl.SSLSocket):
    """A socket that reads until a moment of the monotonic clock: who sends a byte now and then is cut off."""

    deadline = float("inf")

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if left != float("inf"):
            self.settimeout(left)
        return super().recv_into(buffer, nbytes, flags)


def read_token(file: Path) -> str:
    """The token in a file, read anew each time as it may be another by now. No error shows any of it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would keep us waiting
        with os.fdopen(descriptor, "rb") as opened:
            facts = os.fstat(opened.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise SentinelError(f"the token's file {file} is no file", "see --token-file")
            if facts.st_mode & stat.S_IROTH:
                raise SentinelError(f"everybody may read the token in {file}", f"chmod 0600 {file}")
            text = opened.read(_TOKEN_LARGEST).decode("ascii", "replace").strip()
    except OSError as error:
        raise SentinelError(
            f"cannot read the token in {file}: {reason_of(error)}", "see --token-file"
        ) from None
    if not _TOKEN.fullmatch(text):
        hint = "put the token there, alone on one line"
        raise SentinelError(f"{file} holds {'something other than' if text else 'no'} token", hint)
    return text


def retry_after(value: str, now: float) -> float:
    """The seconds that a Retry-After header asks for, 0 when it says nothing useful (RFC 9110, 10.2.3)."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_WAIT, float(text[:9]))
    with suppress(ValueError, TypeError, OverflowError):
        return min(LONGEST_WAIT, max(0.0, parsedate_to_datetime(text).timestamp() - now))
    return 0.0


def _verdict(status: int, wait: str) -> Answer:
    if status in _TAKEN:
        return Answer(delivered=True)
    name = http.client.responses.get(status, "").lower()
    why = f"the service answers {status}{name and f' ({name})'}"
    if status in _REFUSED:
        return Answer(refused=True, why=why)
    return Answer(why=why, wait=retry_after(wait, time.time()) if status in _BUSY else 0.0)


def _parts(url: str) -> tuple[str, int, str]:
    """Host, port, and what is asked for. The URL is not shown: it may hold a password."""
    if not _TOKEN.fullmatch(url):
        raise SentinelError("--push is no URL", "give https://HOST/PATH")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SentinelError("--push is no URL", "give https://HOST/PATH") from None
    if parts.username is not None or parts.password is not None:
        raise SentinelError("--push has a user or a password in it", "put a token into a --token-file")
    if parts.scheme != "https" or not host or parts.fragment:
        raise SentinelError("--push takes https only", "give https://HOST/PATH")
    return host, 443 if port is None else port, (parts.path or "/") + (parts.query and f"?{parts.query}")
