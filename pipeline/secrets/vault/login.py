"""Who we are for Vault: one token for a whole run, prolonged in time, got again where it was taken back.

VAULT_TOKEN comes first, then an AppRole, and at last ~/.vault-token, which `vault login` leaves.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import UsageError
from .. import private
from . import http as vault_http
from .http import NoAnswerError

if TYPE_CHECKING:
    from .access import VaultAccess

T = TypeVar("T")
Clock = Callable[[], float]

TOKEN_FILE = "~/.vault-token"  # noqa: S105 - where it is
SPENT = 2 / 3
"""The part of a token's time after which it is prolonged."""
_TOKEN = re.compile(r"[!-~]+")
_HINT = "set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or run `vault login`"


class Session:
    """Asks Vault as whoever the settings say we are. Safe to use from threads; nothing is asked before `ask`.

    Once Vault was out of reach, for a reason that will last, it is not asked again.
    """

    def __init__(self, access: VaultAccess, clock: Clock = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._uses_approle = False
        self._logins = 0
        self._may_log_in_again = True
        self._lease = self._left = 0.0
        self._renewable = False
        self._due: float | None = None
        self._lost: NoAnswerError | None = None

    def ask(self, call: Callable[[Any], T]) -> T:
        """Do something with a client of hvac that is logged in.

        Raises NoAnswerError, the VaultError of hvac that says what Vault thinks of the request, and
        UsageError and RefusedError where the settings allow no request.
        """
        import requests

        try:
            return self._asked(call)
        except NoAnswerError as error:
            failed = error
        except requests.RequestException as error:
            failed = vault_http.explained(error)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            # hvac takes for granted that an answer has Vault's form, and stumbles over another one.
            failed = vault_http.strange()
        failed.lasting |= failed.busy  # the next thousand requests would wait as long, each for itself
        if failed.lasting:
            self._lost = failed
        raise failed from None

    def _asked(self, call: Callable[[Any], T]) -> T:
        from hvac.exceptions import Forbidden

        client, login = self._ready()
        try:
            return call(client)
        except Forbidden:
            if not self._logged_in_again(login):
                raise
        return call(client)

    # ------------------------------------------------------------------------------------- token

    def _ready(self) -> tuple[Any, int]:
        """The client, and which login it has; the first who asks logs in for all."""
        with self._one_at_a_time():
            if self._client is None:
                self._client = self._begun()
            if self._due is not None and self._clock() >= self._due:
                self._prolong()
            return self._client, self._logins

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Hold the lock; who waited for it does not try again what has failed meanwhile."""
        with self._lock:
            if self._lost:
                raise NoAnswerError(self._lost.what, self._lost.hint, lasting=True)
            try:
                yield
            except NoAnswerError as error:
                error.lasting = True  # nobody gets anywhere without a login
                self._lost = error
                raise

    def _begun(self) -> Any:  # noqa: ANN401 - hvac has no types
        import hvac

        access = self._access
        vault_http.check(access)
        token = self._token()
        client = hvac.Client(
            url=access.address,
            token="",  # None would be looked for in the environment
            verify=str(access.ca_certificate) if access.ca_certificate else True,
            timeout=access.timeout,
            session=vault_http.session(access),
            namespace=access.namespace or None,
        )
        if token is None:
            self._log_in(client)
        else:
            client.token = token
            self._look_at_token(client)
        return client

    def _token(self) -> str | None:
        """The token that we were given; None for an AppRole. Raises UsageError where there is neither."""
        access = self._access
        token = access.token.reveal()
        if token:
            return _checked(token, "VAULT_TOKEN")
        if bool(access.role_id) != bool(access.secret_id.reveal()):
            there, missing = ("VAULT_ROLE_ID", "VAULT_SECRET_ID")
            if not access.role_id:
                there, missing = missing, there
            raise UsageError(f"{there} is set without {missing}", "an AppRole has both")
        if access.role_id:
            self._uses_approle = True
            return None
        try:
            file = Path(TOKEN_FILE).expanduser()
        except RuntimeError:  # no home
            raise UsageError("Vault is to be asked without a token", _HINT) from None
        found = private.read(file, folder_is_private=False, hint=_HINT)
        if found is None or not found.content.strip():
            raise UsageError("Vault is to be asked without a token", _HINT)
        return _checked(found.content.decode("latin-1").strip(), str(file))

    def _look_at_token(self, client: Any) -> None:  # noqa: ANN401
        """Find out how long it lives, if it may tell."""
        if answer := _if_it_can(client.auth.token.lookup_self):
            about = answer["data"]
            self._set_lease(about.get("ttl"), renewable=about.get("renewable") is True)

    def _log_in(self, client: Any) -> None:  # noqa: ANN401
        from hvac.exceptions import VaultError

        try:
            answer = client.auth.approle.login(
                self._access.role_id, self._access.secret_id.reveal(), use_token=False
            )
        except VaultError:
            what = "does not let the AppRole of VAULT_ROLE_ID in"
            hint = "check VAULT_ROLE_ID, and get a new VAULT_SECRET_ID"
            raise NoAnswerError(what, hint, lasting=True) from None
        auth = answer["auth"]
        if not isinstance(auth["client_token"], str) or not _TOKEN.fullmatch(auth["client_token"]):
            raise vault_http.strange()
        client.token = auth["client_token"]
        self._logins += 1
        self._lease = 0.0
        self._set_lease(auth.get("lease_duration"), renewable=auth.get("renewable") is True)

    def _set_lease(self, seconds: object, *, renewable: bool) -> None:
        """Note when to do something about the token: never, if it has no end or cannot be mended."""
        known = isinstance(seconds, int | float) and seconds > 0
        self._left = float(seconds) if known else 0.0  # type: ignore[arg-type]
        self._lease = max(self._lease, self._left)
        self._renewable = renewable
        mends = known and (renewable or self._uses_approle)
        self._due = self._clock() + self._left * SPENT if mends else None

    def _prolong(self) -> None:
        """Renew the token; an AppRole whose token cannot live much longer logs in again."""
        self._due = None
        renewed = _if_it_can(self._client.auth.token.renew_self) if self._renewable else None
        if renewed:
            auth = renewed["auth"]
            self._set_lease(auth["lease_duration"], renewable=auth["renewable"] is True)
        if self._uses_approle and (not renewed or self._left * 2 < self._lease):
            self._log_in(self._client)

    def _logged_in_again(self, login: int) -> bool:
        """Whether there is a newer token than that of a request which was denied.

        It may have been taken back, or it has run out while we slept; that this is so is believed once, else
        each path that is denied for good would cost a login.
        """
        with self._one_at_a_time():
            if self._logins == login and self._uses_approle and self._may_log_in_again:
                self._may_log_in_again = False
                self._log_in(self._client)
            return self._logins != login


def _if_it_can(ask: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What is answered about the token; None where that is denied or fails: it may work all the same."""
    from hvac.exceptions import VaultError

    try:
        return ask()
    except VaultError:
        return None
    except NoAnswerError as error:
        if error.lasting:
            raise
        return None


def _checked(token: str, where: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"{where} is no token of Vault", "it is one word; `vault print token` shows yours")
    return token
