"""Which paths are open without signing in, and by what instead. Pure.

Every path that is not named here is for people who have signed in and have a role.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Literal

from ..secret import Secret
from .asked import SAFE, Asked
from .denial import Denial

Kind = Literal["people", "open", "probe", "link", "token"]
_IMAGER = re.compile(r"/imager/(?:[^/]+/[^/]+|os_list\.json)")
_BEARER = re.compile(r"(?i:bearer) +([\x21-\x7e]+)")


@dataclass(frozen=True, slots=True)
class Door:
    """How a request may come in.

    people: sign in · open: files of the program itself · probe: says only that it lives · link: whoever has
    the link · token: the bearer token for `purpose`.
    """

    kind: Kind
    purpose: str = ""


_EXACT: Mapping[tuple[str, bool], Door] = {
    ("/healthz", True): Door("probe"),
    ("/readyz", True): Door("probe"),
    ("/metrics", True): Door("token", "metrics"),
    ("/internal/sentinel/snapshot", False): Door("token", "sentinel"),
    ("/internal/sentinel/watch", False): Door("token", "watch"),
}
"""By the path, and whether the method reads only."""


def door(request: Asked) -> Door:
    """The door that a request comes to. Raises Denial for what is never a way in."""
    if known := _EXACT.get((request.path, request.method in SAFE)):
        return known
    if request.path.lower().startswith("/internal"):
        raise Denial(404, "there is nothing here")
    if request.is_safe and request.path.startswith("/static/"):
        return Door("open")
    if request.is_safe and _IMAGER.fullmatch(request.path):
        return Door("link")
    return Door("people")


def bearer(request: Asked) -> str:
    """The bearer token that a request has (RFC 6750, 2.1), empty where it has none."""
    match = _BEARER.fullmatch(request.header("authorization"))
    return match[1] if match else ""


def has_token(request: Asked, tokens: Mapping[str, Secret], purpose: str) -> bool:
    """Whether a request has the token for a purpose; compared in a time that says nothing of it."""
    wanted = tokens.get(purpose)
    given = bearer(request)
    return wanted is not None and compare_digest(wanted.reveal().encode(), given.encode())
