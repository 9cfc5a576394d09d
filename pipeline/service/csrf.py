"""That a request which changes something was made by a page of ours, and by nobody else's. Pure.

A page carries a token that only we can make for whoever it is shown to; nothing is kept of it. And browsers
say where a request was made: `Origin` (RFC 6454) and `Sec-Fetch-Site` (Fetch Metadata, W3C).
"""

from __future__ import annotations

import hmac
import re

from .asked import Asked
from .denial import Denial
from .options import Options

HEADER = "X-CSRF-Token"
FIELD = "csrf"
HOURS = 12
"""How long a page may lie open."""
_HOUR = 3600
_OTHER_SITES = {"cross-site", "same-site"}
_TOKEN = re.compile(r"([0-9a-f]{1,12})-([0-9a-f]{64})")


def token(key: bytes, name: str, now: float) -> str:
    """The token of whoever is called `name`, at a time in seconds since 1970."""
    return _made(key, name, int(now) // _HOUR)


def _made(key: bytes, name: str, hour: int) -> str:
    said = f"metis csrf\0{hour:x}\0{name}".encode(errors="surrogatepass")
    return f"{hour:x}-{hmac.new(key, said, 'sha256').hexdigest()}"


def check_token(key: bytes, name: str, now: float, given: str) -> None:
    """Refuse a token that is not theirs, or of too long ago. Raises Denial."""
    match = _TOKEN.fullmatch(given)
    hour = int(match[1], 16) if match else -1
    # An hour of the future is one of a clock that was put back meanwhile: it was ours all the same.
    is_new = -1 <= int(now) // _HOUR - hour <= HOURS
    if not (hmac.compare_digest(_made(key, name, hour).encode(), given.encode()) and is_new):
        raise Denial(403, "the page is too old, or is not one of this service", "load the page again")


def check_origin(request: Asked, options: Options) -> None:
    """Refuse what a page of another origin makes a browser send. Raises Denial.

    What is no browser sends neither header, and needs the token all the same.
    """
    origin, site = request.header("origin"), request.header("sec-fetch-site")
    if origin and origin.lower() not in _origins(request, options):
        raise Denial(403, "the request was made by a page of another service")
    if site not in {"", "same-origin", "none"}:
        raise Denial(403, "the request was made by a page of another service")


def check_reader(request: Asked) -> None:
    """Refuse what a page of another site makes a browser read; that it may lead somebody here stands.

    It would see nothing of the answer, but could have us work for it, hold streams open, and measure how long
    answers take (Fetch Metadata, W3C). Raises Denial.
    """
    leads_here = (request.header("sec-fetch-mode"), request.header("sec-fetch-dest")) == (
        "navigate",
        "document",
    )
    if request.header("sec-fetch-site") in _OTHER_SITES and not leads_here:
        raise Denial(403, "the request was made by a page of another service")


def _origins(request: Asked, options: Options) -> set[str]:
    """Ours, and by the name that the request came under, which has been found to be ours (`check_host`)."""
    scheme = "https" if options.is_https else "http"
    return {options.public_url, f"{scheme}://{request.header('host').lower()}"} - {""}
