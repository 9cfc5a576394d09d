"""What the guard reads of a request: its line and its headers, held to one meaning. Pure.

Two programs that read one request differently are how requests are smuggled past a guard. So whatever has two
readings is refused, and what is decided by here is what the application behind decides by too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from .denial import Denial

Address = IPv4Address | IPv6Address

SAFE = frozenset({"GET", "HEAD"})
METHODS = SAFE | {"POST", "PUT", "PATCH", "DELETE"}
ONCE = frozenset(
    b"authorization content-length content-type host origin sec-fetch-dest sec-fetch-mode sec-fetch-site "
    b"transfer-encoding x-csrf-token".split()
)
"""Headers that something is decided by."""
LONGEST_PATH = 2048
"""Characters of a path."""
LONGEST_QUERY = 4096
"""Characters of a query, which whoever answers takes apart: filters are short, and links too."""
LONGEST_HEAD = 32 << 10
"""Bytes of all headers: groups and the cookies of a proxy are long, nothing else is."""
MOST_HEADERS = 200
"""A browser sends twenty, a proxy some more."""
_STRANGE_IN_PATH = re.compile(r"[\x00-\x20\x7f\\]|//|/\.{1,2}(?:/|$)")
_ENCODED = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `headers` are by their names in lower case, with all values of each."""

    method: str
    path: str
    headers: Mapping[bytes, tuple[bytes, ...]]
    peer: Address | None
    """The other end of the connection; None where that is no address."""

    @property
    def is_safe(self) -> bool:
        """Whether it may change nothing (RFC 9110, 9.2.1)."""
        return self.method in SAFE

    def header(self, name: str) -> str:
        """The value of a header that may come once, empty where it is missing.

        Raises Denial where it comes twice or is no text of one line.
        """
        values = self.headers.get(name.lower().encode(), ())
        if len(values) > 1:
            raise Denial(400, "a header comes twice that may come once")
        try:
            text = values[0].decode().strip(" \t") if values else ""
        except UnicodeDecodeError:
            raise Denial(400, "a header is no text") from None
        if not text.isprintable():
            raise Denial(400, "a header has control characters")
        return text

    @property
    def declared(self) -> int | None:
        """Bytes of the body as it was announced; None where that was left open."""
        values = self.headers.get(b"content-length")
        if values is None:
            return None if b"transfer-encoding" in self.headers else 0
        return int(values[0])


def asked(scope: Mapping[str, Any]) -> Asked:
    """A request as an ASGI server hands it on. Raises Denial for what has two readings."""
    _check_head(scope["headers"])
    headers: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in scope["headers"]:
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    request = Asked(scope["method"], scope["path"], headers, _peer(scope.get("client")))
    _check_line(request, scope.get("raw_path") or b"", scope.get("query_string", b""))
    _check_framing(request)
    return request


def _check_head(headers: Sequence[tuple[bytes, bytes]]) -> None:
    # The server's own bound is for what has not come whole; what comes at once may be larger.
    size = sum(len(name) + len(value) for name, value in headers)
    if size > LONGEST_HEAD or len(headers) > MOST_HEADERS:
        raise Denial(431, "the headers are too long", "let the proxy send fewer groups, or drop cookies")


def _check_line(request: Asked, raw_path: bytes, query: bytes) -> None:
    if request.method not in METHODS:
        raise Denial(405, "this method is not served")
    is_long = len(request.path) > LONGEST_PATH or len(raw_path) > 3 * LONGEST_PATH
    if is_long or len(query) > LONGEST_QUERY:
        raise Denial(414, "the address is too long")
    if not request.path.startswith("/") or _STRANGE_IN_PATH.search(request.path) or _ENCODED.search(raw_path):
        raise Denial(400, "the address has two readings")


def _check_framing(request: Asked) -> None:
    if any(len(request.headers.get(name, ())) > 1 for name in ONCE):
        raise Denial(400, "a header comes twice that may come once")
    lengths = request.headers.get(b"content-length", ())
    if lengths and b"transfer-encoding" in request.headers:
        raise Denial(400, "the length of the body is said in two ways")
    if lengths and not _DIGITS.fullmatch(lengths[0]):
        raise Denial(400, "the length of the body is no number")
    if request.is_safe and request.declared != 0:
        raise Denial(400, "a request that reads has no body")


def _peer(client: Iterable[Any] | None) -> Address | None:
    return address(str(next(iter(client), ""))) if client else None


def address(text: str) -> Address | None:
    """An IP address, that of IPv4 as such also where it is written as one of IPv6; None for what is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
