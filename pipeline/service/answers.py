"""What is said to who is refused, and the headers that each answer has."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from http import HTTPStatus
from typing import Any

from ..errors import one_line
from .asked import METHODS, Asked
from .denial import Denial

Pairs = list[tuple[bytes, bytes]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    # Not no-referrer: under it browsers send `Origin: null` with a plain form (Fetch, append a request's
    # Origin header), and no origin could be asked for.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_HSTS = ("Strict-Transport-Security", "max-age=31536000")
_NO_STORE = ("Cache-Control", "no-store")
PROBLEM = "application/problem+json"
FOR_PROGRAMS = ("/api/", "/internal/")
"""What is below these is asked for by programs, which are answered as RFC 9457 has it."""
LONGEST = 1000
"""Characters of what a problem says; names that a request had may be among them."""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<link rel="stylesheet" href="/static/metis.css">
</head>
<body><main><h1>{title}</h1><p>{what}.</p><p>{hint}</p></main></body>
</html>
"""


def hardened(headers: Iterable[tuple[bytes, bytes]], *, is_https: bool, is_private: bool) -> Pairs:
    """The headers of an answer with those that all have; what lets other origins in is dropped.

    What is private is kept by nobody on the way; of the rest that holds unless the answer says otherwise.
    """
    found = [(name.lower(), value) for name, value in headers]
    ours = [*_ALWAYS, *([_HSTS] if is_https else [])]
    if is_private or b"cache-control" not in dict(found):
        ours.append(_NO_STORE)
    put = [(name.lower().encode(), value.encode()) for name, value in ours]
    kept = (pair for pair in found if not pair[0].startswith(b"access-control-") and pair[0] not in dict(put))
    return [*kept, *put]


def problem(status: int, detail: str) -> dict[str, Any]:
    """What went wrong, for programs (RFC 9457)."""
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": one_line(detail)[:LONGEST]}


def refusal(denial: Denial, request: Asked | None) -> tuple[Pairs, bytes]:
    """Headers and body for who is refused: a page where one is asked for, else a problem.

    The connection ends with it where more of a body may come, which nobody would read.
    """
    headers = [] if request is not None and request.is_safe else [(b"connection", b"close")]
    if denial.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="metis"'))
    if denial.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", ", ".join(sorted(METHODS)).encode()))
    if denial.retry_after:
        headers.append((b"retry-after", str(denial.retry_after).encode()))
    if request is not None and _wants_a_page(request):
        kind, body = b"text/html; charset=utf-8", _page(denial)
    else:
        said = f"{denial.what}: {denial.hint}" if denial.hint else denial.what
        kind, body = PROBLEM.encode(), json.dumps(problem(denial.status, said))
    data = body.encode()
    return [*headers, (b"content-type", kind), (b"content-length", str(len(data)).encode())], data


def _wants_a_page(request: Asked) -> bool:
    accepted = b",".join(request.headers.get(b"accept", ()))
    return b"text/html" in accepted and not request.path.startswith(FOR_PROGRAMS)


def _page(denial: Denial) -> str:
    title = f"{denial.status} {HTTPStatus(denial.status).phrase}"
    what, hint = denial.what[:1].upper() + denial.what[1:], denial.hint[:1].upper() + denial.hint[1:]
    return _PAGE.format(title=title, what=escape(what), hint=escape(f"{hint}." if hint else ""))
