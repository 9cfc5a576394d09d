"""What the headers of a web server say about a download; all of it is the server's word, and may be wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .partial import Partial

Headers = Mapping[str, str]
"""By name, whatever its case, as requests has them."""
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:(\d{1,18})|\*)", re.ASCII)


def wanted(partial: Partial) -> dict[str, str]:
    """Ask for the rest of the version that we have a part of, and for all of any other (RFC 9110, 13.1.5).

    Of what another host has sent, for the rest of whatever this one has: the hash of the whole decides.
    """
    if not partial.size or not (partial.validator or partial.is_shared):
        return {}
    condition = {} if partial.is_shared else {"If-Range": partial.validator}
    return {"Range": f"bytes={partial.size}-", **condition}


def continues(headers: Headers, partial: Partial) -> bool:
    """Whether a 206 brings the very bytes that come next, of the same version (RFC 9110, 14.4)."""
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or not partial.size or int(found[1]) != partial.size:
        return False
    if found[2] is not None and partial.total not in {None, int(found[2])}:
        return False
    return partial.is_shared or validator(headers) in {"", partial.validator}


def validator(headers: Headers) -> str:
    """What names a version of the file: a strong ETag, else its date, else nothing (RFC 9110, 8.8)."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def length(headers: Headers) -> int | None:
    """How many bytes the body has, None where that is not said."""
    value = headers.get("Content-Length", "")
    chunked = "Transfer-Encoding" in headers
    return int(value[:18]) if value.isascii() and value.isdigit() and not chunked else None


def retry_after(value: str | None) -> float:
    """The seconds that a Retry-After header asks for, 0 when it says nothing useful (RFC 9110, 10.2.3)."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0.0
