"""How Vault is spoken to over HTTP: a session of requests that hvac works with.

It tries again where that may help, takes no more than a secret can be, sends the token nowhere in the clear
and adds no credentials of its own. What goes wrong becomes NoAnswerError, with nothing of what was said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from ...errors import RefusedError, UsageError
from ...machine import web
from ...machine.loopback import is_loopback

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

    from .access import VaultAccess

AT_ONCE = 16
"""Requests at the same time."""
TRIES = 3
PAUSE = 0.5
"""Seconds before the second try; before each further one they double."""
LONGEST_PAUSE = 10.0
"""Seconds to wait at most, whatever Retry-After says."""
MAX_BYTES = 1 << 20
"""Of an answer: Vault's own storage takes no larger document (max_entry_size of raft)."""
REDIRECTS = 3
_JSON = "application/json"
_GONE = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


class NoAnswerError(Exception):
    """Vault gave no answer that can be used.

    `what` goes on where "Vault at …" stops, and says nothing of the answer; `hint` says what to do. All
    later requests would fare as this one where it is `lasting`, and all for secrets where Vault is `busy`;
    where it is `final`, to try again is vain.
    """

    def __init__(
        self, what: str, hint: str, *, lasting: bool = False, busy: bool = False, final: bool = False
    ) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.lasting = lasting
        self.busy = busy
        self.final = final


def strange() -> NoAnswerError:
    """The error for an answer that Vault would not give."""
    return NoAnswerError(
        "gave an answer that is none of Vault's", "check VAULT_ADDR, and that kv is of version 2"
    )


def check(access: VaultAccess) -> None:
    """Raise UsageError where that cannot be Vault's address, RefusedError where it would show the token."""
    address = _split(access.address)
    if address is None or address.scheme not in {"http", "https"} or not address.hostname:
        raise UsageError("VAULT_ADDR is no address of Vault", "give one such as https://vault.example:8200")
    if "@" in address.netloc or address.query or address.fragment:
        # It is not repeated: a password may be in it.
        raise UsageError("VAULT_ADDR has more than an address", "leave out user, password and what follows ?")
    if not (address.scheme == "https" or is_loopback(address.hostname) or access.insecure):
        raise RefusedError(
            f"{access.address} is plain HTTP: the token would cross the network in the clear",
            "use https, or METIS_VAULT_INSECURE=1 where that may be",
        )
    if not access.namespace.isascii() or not access.namespace.isprintable():
        raise UsageError("VAULT_NAMESPACE is no namespace", "give its path, such as lab/atlas")
    if access.ca_certificate is None:
        return
    web.check_authority(access.ca_certificate, "VAULT_CACERT")


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _is_safe(origin: str, target: str) -> bool:
    """Whether the token may follow a redirect."""
    try:
        before, after = _split(origin), _split(urljoin(origin, target))
    except ValueError:
        return False
    if before is None or after is None:
        return False
    same = (before.scheme, before.hostname, before.port) == (after.scheme, after.hostname, after.port)
    return same or after.scheme == "https"


# ----------------------------------------------------------------------------------------- session


def session(access: VaultAccess) -> Session:
    """What hvac sends its requests through. Safe to use from threads."""
    import requests
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        """Tries again, and reads a bounded answer at once."""

        def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:  # noqa: ANN401
            options["stream"] = True
            once = partial(super().send, request, *arguments, **options)
            return _patiently(once, access.timeout)

    class Careful(requests.Session):
        """Follows redirects as Vault's own clients do: a standby names the active server (307)."""

        def get_redirect_target(self, resp: Response) -> str | None:
            target = super().get_redirect_target(resp)
            if target is None:
                return None
            kept = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
            if resp.request.method != "GET" and resp.status_code not in kept:
                raise _astray("redirects what it should do itself")  # requests would ask with GET there
            if not _is_safe(resp.url, target):
                raise _astray("redirects to plain HTTP, where the token would be in the clear")
            return target

        def rebuild_auth(self, prepared_request: PreparedRequest, response: Response) -> None:
            """Add nothing from ~/.netrc."""

    careful = Careful()
    careful.max_redirects = REDIRECTS
    careful.verify = str(access.ca_certificate) if access.ca_certificate else True
    # Proxies come from the environment, as for all who ask by TLS; a plain token is shown to none of them.
    careful.trust_env = urlsplit(access.address).scheme == "https"
    careful.auth = web.as_it_is  # else one from ~/.netrc is added
    careful.headers.update(web.HEADERS)
    # Threads share a session: what a balancer says to one of them is not kept for the others.
    careful.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        careful.mount(scheme, Patient(pool_connections=4, pool_maxsize=AT_ONCE))
    return careful


def _astray(what: str) -> NoAnswerError:
    hint = "name the active server in VAULT_ADDR, or mend its api_addr"
    return NoAnswerError(what, hint, lasting=True, final=True)


def _patiently(send: Callable[[], Response], timeout: float) -> Response:
    """The answer to a request, which is sent again while that may help."""
    import urllib3

    pause = PAUSE
    for left in reversed(range(TRIES)):
        wait = 0.0
        try:
            response = send()
            _take(response, timeout)
            failed = _refusal(response)
            if failed is None:
                return response
            wait = _retry_after(response)
        except NoAnswerError as error:
            failed = error
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            # Their texts hold addresses, and what was answered: none goes into ours.
            failed = explained(error)
        if failed.final or not left:
            raise failed from None
        time.sleep(min(max(pause, wait), LONGEST_PAUSE))
        pause *= 2
    raise AssertionError("the last try returns or raises")


def _take(response: Response, timeout: float) -> None:
    """Read the body, of a bounded size and within a bounded time."""
    try:
        web.take(response, MAX_BYTES, timeout)
    except web.TooMuchError:
        raise NoAnswerError("answers with more than a secret can be", strange().hint, final=True) from None
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == _JSON:
        response.headers["Content-Type"] = _JSON  # hvac compares it as a whole, and a proxy may add to it


def _refusal(response: Response) -> NoAnswerError | None:
    """What of the answers that have nothing to do with the secret asked for, if it is one of them."""
    status = response.status_code
    if status == HTTPStatus.SERVICE_UNAVAILABLE and b"sealed" in response.content:
        return NoAnswerError("is sealed", "unseal it with `vault operator unseal`", lasting=True, final=True)
    if status == HTTPStatus.NOT_IMPLEMENTED:
        hint = "it is new: see `vault operator init`"
        return NoAnswerError("is not initialised", hint, lasting=True, final=True)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        hint = "run again later, or raise its rate limit quota"
        return NoAnswerError("asks for fewer requests (429)", hint, busy=True)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        lasting = status in _GONE
        return NoAnswerError(
            f"has a fault of its own ({status})", "see its log, and run again", lasting=lasting
        )
    return None


def _retry_after(response: Response) -> float:
    """Seconds (RFC 9110, 10.2.3); a date is as good as nothing."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < len("1000000") else 0.0


def _too_slow() -> NoAnswerError:
    return NoAnswerError("did not answer in time", "see VAULT_CLIENT_TIMEOUT, and run again", lasting=True)


def explained(error: Exception) -> NoAnswerError:
    """What went wrong on the way, in our own words."""
    import requests
    from urllib3 import exceptions

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        what = "has a certificate that cannot be verified"
        hint = "set VAULT_CACERT to the certificate of your own authority, and check the name and the clock"
        return NoAnswerError(what, hint, lasting=True, final=True)
    if isinstance(error, requests.TooManyRedirects):
        return _astray("redirects again and again")
    if isinstance(error, requests.Timeout | exceptions.TimeoutError | TimeoutError):
        return _too_slow()
    cause = getattr(error.args[0] if error.args else None, "reason", error)
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.NameResolutionError, "its name cannot be resolved"),
        (exceptions.NewConnectionError, "nothing answers there"),
        (exceptions.ProxyError, "the proxy of HTTPS_PROXY does not let us"),
        (exceptions.SSLError, "it does not speak TLS with us"),
    )
    why = next((why for kind, why in kinds if isinstance(cause, kind)), "the connection was cut")
    return NoAnswerError(f"cannot be reached: {why}", "see that it runs, and check VAULT_ADDR", lasting=True)
