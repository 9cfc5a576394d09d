"""Who asks a registry, and how it is told: oras, for one repository at a time.

oras knows the tokens of registries. It takes what they say for well-formed, sends passwords wherever they
want, and waits minutes where an answer does not change: so it gets a session of ours, which does not, and
only the challenge of an answer decides whether a password goes along.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ...errors import MetisError
from ..asking import explained
from ..source import DeniedError
from .access import RegistryAccess
from .credentials import credentials
from .session import authority, bounded

if TYPE_CHECKING:
    from requests import Response


class Client:
    """Asks about one repository of a registry at `origin`. Safe to use from threads."""

    def __init__(self, host: str, origin: str, access: RegistryAccess) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._oras = _oras(host, origin, access)

    @property
    def hint(self) -> str:
        """What to do where the registry wants to know who asks."""
        return f"run `docker login {self._host}`, or set METIS_REGISTRY, METIS_REGISTRY_USER and _PASSWORD"

    def proof(self) -> Mapping[str, str]:
        """What says who we are, once the registry has asked for it."""
        proof: Mapping[str, str] = self._oras.auth.get_auth_header()
        return proof

    def forget(self) -> None:
        """Have the registry ask again."""
        with self._lock:
            self._oras.auth.forget()

    def send(self, method: str, url: str, **more: Any) -> Response:  # noqa: ANN401 - as requests has them
        """One answer, whatever it is; what is refused is asked once more, for what is needed now.

        Raises BrokenError for what another try may mend, and SourceError for what none does.
        """
        response = self._send(method, url, **more)
        if response.status_code == HTTPStatus.UNAUTHORIZED and self.proof():
            self.forget()  # a token is for less than is asked now, or has ended
            response = self._send(method, url, **more)
        return response

    def _send(self, method: str, url: str, **more: Any) -> Response:  # noqa: ANN401
        import urllib3

        headers = {**more.pop("headers", {}), **self.proof()}
        ask = self._oras.do_request.__wrapped__  # without its retries
        try:
            response: Response = ask(self._oras, url, method, headers=headers, **more)
        except MetisError:
            raise
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise explained(error, self._host) from None
        except Exception:  # noqa: BLE001 - of what a registry says, anything may be missing or of another type
            raise DeniedError(f"{self._host} does not let us in", self.hint) from None
        return response


def _oras(host: str, origin: str, access: RegistryAccess) -> Any:  # noqa: ANN401 - oras's own class
    import oras.logger
    import oras.provider
    from oras.auth.token import TokenAuth

    class Auth(TokenAuth):
        """By token or by password, as the answer says that was refused."""

        is_basic = False

        def authenticate_request(
            self,
            original: Response,
            headers: Any,  # noqa: ANN401 - oras has no types
            refresh: bool = False,
        ) -> tuple[Any, bool]:
            challenge = original.headers.get("WWW-Authenticate", "")
            if not challenge.lower().startswith("basic"):
                found: tuple[Any, bool] = super().authenticate_request(original, headers, refresh)
                return found
            self.is_basic = hasattr(self, "_basic_auth")
            return {**(headers or {}), **self.get_auth_header()}, self.is_basic

        def get_auth_header(self) -> dict[str, str]:
            if self.is_basic:
                return {"Authorization": f"Basic {self._basic_auth}"}
            return {"Authorization": f"Bearer {self.token}"} if self.token else {}

        def forget(self) -> None:
            self.token, self.is_basic = None, False

    # What oras logs holds what registries say, and goes to stderr.
    oras.logger.logger.handler = lambda _message: None
    made = oras.provider.Registry(host, insecure=origin.startswith("http:"), tls_verify=authority(access))
    made.auth = Auth()
    made.session = made.auth.session = bounded(access, origin)
    made.auth.prefix, made.auth._tls_verify = made.prefix, made._tls_verify
    if known := credentials(host, access):
        made.auth.set_basic_auth(known[0], known[1].reveal())
    return made
