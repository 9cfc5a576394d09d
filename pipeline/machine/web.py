"""What all who ask web servers do alike: nothing is added to a request, and no answer is without a bound."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

PIECE = 1 << 16
"""Bytes to take at once; up to so many are lost when a connection is cut."""
HEADERS: Mapping[str, str] = MappingProxyType({"User-Agent": "metis", "Accept-Encoding": "identity"})
"""Of each request. What is packed once more has another hash, and no bound before it is unpacked."""


class TooMuchError(Exception):
    """An answer has more bytes than whoever asked can use."""


def as_it_is(request: PreparedRequest) -> PreparedRequest:
    """Who asks is said already: requests is not to look into ~/.netrc."""
    return request


def pieces(response: Response) -> Iterator[bytes]:
    """The body as it arrives, without undoing any Content-Encoding; raises the errors of urllib3."""
    # Not read(): of a chunk whose length is a lie it would take all there is at once.
    while piece := response.raw.read1(PIECE, decode_content=False):
        yield piece


def take(response: Response, limit: int, seconds: float = math.inf) -> None:
    """Read the whole body for `response.content`; raises TooMuchError beyond `limit` bytes.

    Raises TimeoutError where all of it takes longer than that, and the errors of urllib3.
    """
    content = bytearray()
    until = time.monotonic() + seconds
    for piece in pieces(response):
        content += piece
        if len(content) > limit:
            response.close()
            raise TooMuchError
        if time.monotonic() > until:
            response.close()
            raise TimeoutError
    response._content, response._content_consumed = bytes(content), True  # type: ignore[attr-defined]


def check_authority(file: Path, variable: str) -> None:
    """Raise UsageError for a file that holds no certificates; `variable` is what named it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError:  # also ssl.SSLError
        raise UsageError(f"{file} is no file of certificates", f"{variable} names one in PEM") from None
