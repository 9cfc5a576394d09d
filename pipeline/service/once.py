"""The sign-in of `metis gui`: a token that opens the service once, for the one browser that brings it."""

from __future__ import annotations

import secrets
from hmac import compare_digest
from urllib.parse import parse_qs

from ..secret import Secret
from .asked import Asked
from .denial import Denial

FIELD = "token"
_MOST_FIELDS = 20


class Once:
    """The token, and the session that it is changed for; a service that starts anew knows neither."""

    def __init__(self, token: Secret, port: int) -> None:
        self._token: Secret | None = token
        self._session = secrets.token_urlsafe(32)
        # Cookies are of a host, whatever the port: two services on one machine keep theirs apart.
        self._cookie = f"metis_{port}"

    def opened(self, request: Asked, query: bytes) -> str | None:
        """The cookie for who brings the token, which opens nothing afterwards; None where there is none.

        Raises Denial for another token, and for one that was used.
        """
        if request.method != "GET" or request.path != "/":
            return None
        given = _token(query)
        if given is None:
            return None
        token, right = self._token, (self._token or Secret("")).reveal()
        if token is None or not compare_digest(right.encode(), given.encode(errors="replace")):
            raise Denial(403, "this link was used, or is of another run", "start `metis gui` again")
        self._token = None
        return f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    def check(self, request: Asked) -> None:
        """Refuse who is not the browser that brought the token. Raises Denial."""
        pairs = b";".join(request.headers.get(b"cookie", ())).split(b";")
        ours = f"{self._cookie}={self._session}".encode()
        if not any(compare_digest(pair.strip(b" \t"), ours) for pair in pairs):
            raise Denial(401, "this is not the browser that `metis gui` opened", "start `metis gui` again")


def _token(query: bytes) -> str | None:
    try:
        values = parse_qs(query.decode("ascii"), max_num_fields=_MOST_FIELDS).get(FIELD)
    except ValueError:
        return None
    return values[0] if values and len(values) == 1 else None
