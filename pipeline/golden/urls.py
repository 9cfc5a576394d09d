"""URLs of goldens: which are taken, and where a redirect may lead."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

from ..errors import RefusedError, SourceError, UsageError
from ..wording import masked


def checked(url: str) -> str:
    """Give the URL back if it can be asked for.

    Raises UsageError for what is no http or https URL, and RefusedError for one that holds credentials.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{_without_secrets(url)!r} is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise RefusedError(f"{masked(url)} holds credentials", "put them into ~/.netrc, which is private")
    return url


def redirected(url: str, location: str) -> str:
    """Where a redirect from `url` leads; `location` is the server's word (RFC 9110, 10.2.2).

    Raises RefusedError when the way leads out of https, and SourceError when it leads nowhere.
    """
    try:
        target = checked(urljoin(url, location))
    except (ValueError, UsageError):
        raise SourceError(f"{masked(url)} redirects to something that is not a web address") from None
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
        raise RefusedError(
            f"{masked(url)} redirects to plain HTTP at {masked(target)}",
            "name a source that stays on https",
        )
    return target


def file_name(source: str) -> str:
    """What the file at a source is called there, "" where that cannot be told."""
    return "" if source.startswith("oci:") else unquote(urlsplit(source).path).rpartition("/")[2]


def _without_secrets(url: str) -> str:
    return url.partition("?")[0].rpartition("@")[2][:200]
