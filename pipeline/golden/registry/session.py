"""How a registry is spoken to: by TLS or not, with whose certificates, in answers of a bounded size."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import RefusedError, SourceError
from ...machine import web
from ...machine.loopback import is_loopback
from ..asking import (
    CONNECT,
    NO_PROXY,
    SILENCE,
    BrokenError,
    UnheardError,
    explained,
    session,
    words,
)
from ..backoff import Patience
from .access import RegistryAccess

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

MAX_ANSWER = 4 << 20
"""Bytes; no registry need take a longer manifest (OCI Distribution Specification 1.1, Pushing Manifests)."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is none of TLS."""


class _NoTlsError(BrokenError):
    """Something else than TLS is spoken there."""


def origin_of(host: str, access: RegistryAccess, patience: Patience) -> str:
    """The origin of a registry: its scheme and host.

    Plain HTTP is for loopback and for hosts that were named, and only where TLS is not spoken. Raises
    SourceError where nothing answers.
    """
    may_be_plain = is_plain_allowed(f"http://{host}", access)
    while True:
        try:
            return _greeted(f"https://{host}", access, host)
        except BrokenError as error:
            broken = error
        if may_be_plain and isinstance(broken, _NoTlsError | UnheardError):
            try:
                return _greeted(f"http://{host}", access, host)
            except BrokenError as error:
                broken = error
        if isinstance(broken, _NoTlsError):
            hint = f"where plain HTTP is meant, say so: --insecure-registry {host}"
            raise SourceError(f"{host} does not speak TLS", hint)
        patience.wait(broken.reason, 0, broken.at_least)


def is_plain_allowed(url: str, access: RegistryAccess) -> bool:
    """Whether what is said to a server may be in the clear: to this machine itself, and to those named so."""
    parts = urlsplit(url)
    return is_loopback(parts.hostname or "") or parts.netloc in access.insecure


def _greeted(origin: str, access: RegistryAccess, host: str) -> str:
    """Give the origin back where something answers there, whatever it says."""
    import requests
    import urllib3

    try:
        with bounded(access, origin) as asking:
            response = asking.get(f"{origin}/v2/", verify=authority(access))
    except requests.exceptions.SSLError as error:
        if any(word in str(error).upper().replace(" ", "_") for word in _NO_TLS):
            raise _NoTlsError("it does not speak TLS") from None
        raise explained(error, host) from None
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise explained(error, host) from None
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BrokenError(f"it answered {words(response.status_code)}")
    return origin


def authority(access: RegistryAccess) -> str | bool:
    """Whose certificates vouch for a registry, as requests takes it; raises UsageError for a file of none."""
    if access.authority is None:
        return True
    web.check_authority(access.authority, "METIS_REGISTRY_CA")
    return str(access.authority)


def bounded(access: RegistryAccess, origin: str) -> Session:
    """A session for what is small: each answer is read at once, and no redirect is followed.

    A password may go along, to the registry and to whom it names for its tokens: so nothing goes out in
    plain HTTP but to whom that was allowed, never where the registry itself speaks TLS, and nothing for
    this machine goes through a proxy. Nothing is added from ~/.netrc.
    """
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:  # noqa: ANN401
            url = str(request.url)
            if not url.startswith("https:") and (
                origin.startswith("https:") or not is_plain_allowed(url, access)
            ):
                raise RefusedError(
                    "a registry wants its password to cross the network in the clear", "see its settings"
                )
            if is_loopback(urlsplit(url).hostname or ""):
                options["proxies"] = NO_PROXY
            options.update(stream=True, timeout=(CONNECT, SILENCE))
            response = super().send(request, *arguments, **options)
            try:
                web.take(response, MAX_ANSWER)
            except web.TooMuchError:
                what = "a registry answers with more than a manifest can be"
                raise SourceError(what, "see what answers there") from None
            return response

    made = session()
    made.auth = web.as_it_is
    for scheme in ("http://", "https://"):
        made.mount(scheme, Bounded())
    return made
