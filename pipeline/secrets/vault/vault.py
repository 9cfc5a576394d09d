"""Secrets in HashiCorp's Vault, or OpenBao: KV version 2 at the mount `kv`, through hvac.

A document is read whole, and written whole with the version that it was read with, so that who was slower
gets a ConflictError. Each that was read is kept as a sealed copy, for the day on which Vault cannot be asked.
See https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...errors import MetisError, SourceError
from ...secret import Secret
from ..copies import Copies
from ..source import NOTHING, Stored, look
from .faults import LOOK, READ, WRITE, Deed, Faults
from .http import AT_ONCE, NoAnswerError, strange
from .login import Clock, Session
from .paths import MOUNT, full_path, path_of

if TYPE_CHECKING:
    from .access import VaultAccess

# hvac, and what it brings along, is imported where it is used: most runs have no need to ask Vault.

_CONFLICT = "check-and-set parameter did not match"


@dataclass(frozen=True, slots=True)
class _Document:
    data: Mapping[str, Any]
    version: int
    changed: datetime | None


_NO_DOCUMENT = _Document({}, 0, None)


class Vault:
    """One Vault, or one namespace of it. Nothing is asked before the first question.

    What was read is kept among the copies where `keeps_copies` says so. `note` is told, once, where that
    cannot be: the build goes on, but on a day without Vault the copy would be missing.
    """

    name = "vault"

    def __init__(
        self,
        access: VaultAccess,
        copies: Copies,
        *,
        keeps_copies: bool,
        note: Callable[[str], None] = lambda _line: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._faults = Faults(access.address, copies)
        self._session = Session(access, clock)
        self._copies = copies
        self._keeps_copies = keeps_copies
        self._note = note
        self._has_noted = False
        self._noting = threading.Lock()
        self._known: dict[str, Mapping[str, Secret]] = {}

    def place(self, owner: str) -> str:
        """The path, as `vault kv` shows it."""
        return f"{full_path(owner)} in Vault"

    # ------------------------------------------------------------------------------------ reading

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        """The current versions and their times, from the metadata: no value crosses the network."""
        asked = tuple(dict.fromkeys(owners))
        if not asked:
            return {}
        with ThreadPoolExecutor(min(AT_ONCE, len(asked))) as pool:
            answers = dict(zip(asked, pool.map(self._version, asked), strict=True))
        for answer in answers.values():
            if isinstance(answer, NoAnswerError) and answer.lasting:
                raise self._faults.out_of_reach(answer, asked)
        found = {owner: answer for owner, answer in answers.items() if isinstance(answer, str)}
        for answer in () if found else answers.values():
            if isinstance(answer, SourceError):
                raise answer
            if isinstance(answer, NoAnswerError):
                raise self._faults.out_of_reach(answer, asked)
        return found

    def read(self, owner: str) -> Stored:
        """An owner's document; fields of other people's are left out."""
        from .document import values_of

        document = self._document(owner)
        stored = NOTHING
        if document.version:
            values = values_of(document.data, self.place(owner))
            stored = Stored(values, _word(document.version), document.changed)
        self._known[owner] = stored.values
        if self._keeps_copies:
            self._keep(owner, stored)
        return stored

    def known(self, owner: str) -> Mapping[str, Secret]:
        """What this run has read of the owner; where that is nothing, the sealed copy."""
        if found := self._known.get(owner):
            return found
        copy = self._copies.usable(owner)
        return copy.stored.values if copy else {}

    def _version(self, owner: str) -> str | SourceError | NoAnswerError:
        try:
            answer = self._ask(owner, LOOK, lambda kv: kv.read_secret_metadata(path_of(owner), MOUNT))
            if answer is None:
                return ""
            number = _number(answer["data"]["current_version"])
            if not number:
                return ""
            about = answer["data"]["versions"][str(number)]
            if fate := _fate(about):
                return self._faults.gone(owner, number, fate)
            return look(_word(number), _time(about.get("created_time")))
        except (SourceError, NoAnswerError) as error:
            return error
        except (AttributeError, KeyError, TypeError, ValueError):
            return strange()

    def _document(self, owner: str) -> _Document:
        def read(kv: Any) -> Any:  # noqa: ANN401 - hvac has no types
            return kv.read_secret_version(path_of(owner), mount_point=MOUNT, raise_on_deleted_version=True)

        try:
            answer = self._ask(owner, READ, read)
            if answer is None:
                return _NO_DOCUMENT
            data, metadata = answer["data"]["data"], answer["data"]["metadata"]
            number = _number(metadata["version"])
            if not isinstance(data, dict) or not number:
                raise strange()
            return _Document(data, number, _time(metadata.get("created_time")))
        except NoAnswerError as error:
            raise self._faults.out_of_reach(error, [owner]) from None
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._faults.out_of_reach(strange(), [owner]) from None

    def _keep(self, owner: str, stored: Stored) -> None:
        try:
            self._copies.keep(owner, stored, self.place(owner))
        except MetisError as error:
            with self._noting:
                is_first, self._has_noted = not self._has_noted, True
            if is_first:
                self._note(f"no sealed copies of what Vault gives are kept: {error}")

    # ------------------------------------------------------------------------------------ writing

    def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> None:
        """Write the owner's document anew with the changes; nothing that is deleted comes back by it.

        When an answer is lost on its way, the same is sent again, and then our own success looks like that
        of somebody else. So a ConflictError means no more than that one has to read again, and whoever does
        finds what was wanted.
        """
        from .document import with_changes

        found = self._document(owner)
        if _word(found.version) != version:
            raise self._faults.conflict(owner)
        document = with_changes(found.data, changes, self.place(owner))

        def write(kv: Any) -> Any:  # noqa: ANN401
            return kv.create_or_update_secret(path_of(owner), document, cas=found.version, mount_point=MOUNT)

        try:
            answer = self._ask(owner, WRITE, write)
            if _number(answer["data"]["version"]) != found.version + 1:
                raise strange()
        except NoAnswerError as error:
            raise self._faults.out_of_reach(error, [owner]) from None
        except (KeyError, TypeError, ValueError):
            raise self._faults.out_of_reach(strange(), [owner]) from None

    # ------------------------------------------------------------------------------------- asking

    def _ask(self, owner: str, deed: Deed, call: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        """What Vault answers; None where it has nothing at the owner's path.

        Raises NoAnswerError, whose owners are the caller's to name, and SourceError.
        """
        from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError

        try:
            return self._session.ask(lambda client: call(client.secrets.kv.v2))
        except (Forbidden, Unauthorized):
            raise self._faults.denied(owner, deed) from None
        except InvalidPath as error:
            if error.errors == []:
                return None
            raise self._absent(owner, error) from None
        except InvalidRequest as error:
            if any(_CONFLICT in line for line in error.errors or ()):
                raise self._faults.conflict(owner) from None
            raise self._faults.refused(owner, deed) from None
        except VaultError:
            raise strange() from None

    def _absent(self, owner: str, error: Any) -> Exception:  # noqa: ANN401
        """Why there is nothing, where that is more than that nobody ever wrote there."""
        if error.errors:
            return self._faults.no_engine()
        try:
            metadata = error.json["data"]["metadata"]
            return self._faults.gone(owner, _number(metadata["version"]), _fate(metadata) or "deleted")
        except (KeyError, TypeError, ValueError):
            return strange()


def _word(number: int) -> str:
    """A version for the port: empty where there is none yet."""
    return str(number or "")


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value


def _fate(metadata: Mapping[str, Any]) -> str:
    """What became of a version; a time of deletion may lie ahead (delete_version_after)."""
    if metadata["destroyed"] is True:
        return "destroyed"
    deleted = _time(metadata["deletion_time"])
    return "deleted" if deleted and deleted <= datetime.now(UTC) else ""


def _time(text: object) -> datetime | None:
    """RFC 3339, as Go writes it."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
