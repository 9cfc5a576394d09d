"""How a registry is spoken to: by TLS or not, with whose certificates, in answers of a bounded size."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import RefusedError, SourceError, UsageError
from ..loopback import is_loopback
from ..registry_access import RegistryAccess
from .backoff import Patience
from .download import CONNECT, PIECE, SILENCE, BrokenError, explained, words

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

MAX_ANSWER = 4 << 20
"""Bytes; no registry need take a longer manifest (OCI Distribution Specification 1.1, Pushing Manifests)."""


class _NoTlsError(BrokenError):
    """Something else than TLS is spoken there."""


def greeting(host: str, access: RegistryAccess, patience: Patience) -> tuple[str, str]:
    """The origin of a registry (scheme and host), and the challenge that it greets with, "" for none.

    Plain HTTP is for loopback and for hosts that were named, and only where TLS is not spoken. Raises
    SourceError where nothing answers.
    """
    name = urlsplit(f"//{host}").hostname or ""
    schemes = ("https", "http") if is_loopback(name) or host in access.insecure else ("https",)
    while True:
        broken = BrokenError("nothing answers there")
        for scheme in schemes:
            try:
                return f"{scheme}://{host}", _challenge(f"{scheme}://{host}/v2/", access, host)
            except BrokenError as error:
                broken = error
        if isinstance(broken, _NoTlsError):
            hint = f"where plain HTTP is meant, say so: --insecure-registry {host}"
            raise SourceError(f"{host} does not speak TLS", hint)
        patience.wait(broken.reason, 0, broken.at_least)


def _challenge(url: str, access: RegistryAccess, host: str) -> str:
    import requests
    import urllib3

    try:
        with bounded(tls=url.startswith("https:")) as asking:
            response = asking.get(url, verify=authority(access))
    except requests.exceptions.SSLError as error:
        raised = explained(error, host)
        raise (_NoTlsError(raised.reason) if isinstance(raised, BrokenError) else raised) from None
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise explained(error, host) from None
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BrokenError(f"it answered {words(response.status_code)}")
    return str(response.headers.get("WWW-Authenticate", ""))


def authority(access: RegistryAccess) -> str | bool:
    """Whose certificates vouch for a registry, as requests takes it; raises UsageError for a file of none."""
    if access.authority is None:
        return True
    _check_authority(access.authority)
    return str(access.authority)


def _check_authority(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError:  # also ssl.SSLError
        raise UsageError(f"{file} is no file of certificates", "METIS_REGISTRY_CA names one in PEM") from None


def bounded(*, tls: bool) -> Session:
    """A session for what is small: each answer is read at once; with `tls` nothing goes out in plain HTTP.

    It follows no redirect and adds nothing from ~/.netrc.
    """
    import requests
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:  # noqa: ANN401
            if tls and not str(request.url).startswith("https:"):
                raise RefusedError(
                    "a registry wants its password to cross the network in the clear", "see its settings"
                )
            options.update(stream=True, timeout=(CONNECT, SILENCE))
            response = super().send(request, *arguments, **options)
            _take(response)
            return response

    class OneAnswer(requests.Session):
        def get_redirect_target(self, resp: Response) -> None:
            return None

    made = OneAnswer()
    made.auth = _as_it_is
    made.headers.update({"User-Agent": "metis", "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        made.mount(scheme, Bounded())
    return made


def _as_it_is(request: PreparedRequest) -> PreparedRequest:
    return request


def _take(response: Response) -> None:
    """Read the body up to a bound; what comes compressed is not unpacked, which has none."""
    content = bytearray()
    while piece := response.raw.read(PIECE, decode_content=False):
        content += piece
        if len(content) > MAX_ANSWER:
            response.close()
            raise SourceError("a registry answers with more than a manifest can be", "see what answers there")
    response._content, response._content_consumed = bytes(content), True  # type: ignore[attr-defined]
