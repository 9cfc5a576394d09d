"""Sealed copies of what another source gave, for the days on which it cannot be reached.

A copy is a sealed file as `sealed` has them; its first line is a comment that says of what it is a copy.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from ..amounts import duration
from ..errors import MetisError, MismatchError, SourceError, from_os
from ..machine import durable
from ..secret import Secret
from . import private
from .age_keys import AgeKeys
from .folder import SEALED
from .source import CLUSTER, Stored, look

FRESH = timedelta(hours=1)
"""A copy of the same that is no older is not written again: so exact is the age that is told of it."""
_HEAD = b"# copy: "


@dataclass(frozen=True, slots=True)
class Copy:
    """What was read of one owner from `place` at `read_at` (UTC); its version and time are that place's own.

    There is a copy of nothing too: the place was asked, and had no secrets of the owner.
    """

    stored: Stored
    place: str
    read_at: datetime


class Copies:
    """A folder of copies, one file for each owner. Safe to use from threads, and by several processes."""

    def __init__(self, folder: Path, keys: AgeKeys) -> None:
        self._folder = folder
        self._keys = keys

    def file(self, owner: str) -> Path:
        """The owner's copy."""
        return self._folder / f"{owner}{SEALED}"

    def keep(self, owner: str, stored: Stored, place: str) -> None:
        """Remember what a source gave just now, over what was remembered of the owner before.

        A copy that has an identity stays where the source has none any more: it may be the last one.
        Raises MetisError where it cannot be written, or sealed; what was there is still there then.
        """
        from .node_file import with_changes
        from .twins import UNIQUE

        now = datetime.now(UTC)
        copy = self.usable(owner)
        if copy and _is_fresh(copy, stored, place, now):
            return
        if copy and copy.stored.values.keys() & UNIQUE and not stored.values.keys() & UNIQUE:
            return
        about = {
            "changed": stored.changed.isoformat() if stored.changed else None,
            "place": place,
            "read_at": now.isoformat(timespec="seconds"),
            "version": stored.version,
        }
        file = self.file(owner)
        head = _HEAD + json.dumps(about, sort_keys=True).encode() + b"\n"
        sealed = self._keys.sealed(head + with_changes(b"", stored.values, str(file)))
        try:
            with durable.locked(self._folder / ".lock", lambda _holder: None):
                durable.write(file, sealed)
        except OSError as error:
            raise from_os(error) from None

    def read(self, owner: str) -> Copy | None:
        """The owner's copy, None where none was kept.

        Raises SourceError where it is not for our key, MismatchError where it was altered, and RefusedError
        where others could have read it.
        """
        from .node_file import values_of

        text = self._text(owner)
        return None if text is None else self._copy(owner, text, values_of(text, str(self.file(owner))))

    def usable(self, owner: str) -> Copy | None:
        """The owner's copy, if there is one that can be read."""
        try:
            return self.read(owner)
        except MetisError:
            return None

    def look(self, owner: str) -> str | None:
        """How what was copied looked, without its values; None where no copy was kept. Raises as read."""
        text = self._text(owner)
        if text is None:
            return None
        stored = self._copy(owner, text, {}).stored
        return look(stored.version, stored.changed)

    def _text(self, owner: str) -> bytes | None:
        file = self.file(owner)
        found = private.read(file, hint="remove it, and run again while Vault can be reached")
        return None if found is None else self._keys.opened(found.content, str(file))

    def _copy(self, owner: str, text: bytes, values: Mapping[str, Secret]) -> Copy:
        line = text.partition(b"\n")[0]
        try:
            about = json.loads(line.removeprefix(_HEAD))
            changed, read_at = about["changed"], datetime.fromisoformat(about["read_at"]).astimezone(UTC)
            return Copy(
                Stored(values, str(about["version"]), datetime.fromisoformat(changed) if changed else None),
                str(about["place"]),
                read_at,
            )
        except (ValueError, TypeError, KeyError):
            pass  # what is wrong is not shown: it may be a secret
        raise MismatchError(
            f"{self.file(owner)} is no copy that Metis kept",
            "remove it, and run again without METIS_OFFLINE",
        )


def _is_fresh(copy: Copy, stored: Stored, place: str, now: datetime) -> bool:
    is_same = copy.stored == stored and copy.place == place
    return is_same and timedelta(0) <= now - copy.read_at <= FRESH


class OfflineCopies:
    """The copies as a source, for METIS_OFFLINE=1: read-only, and called what it is a copy of.

    Versions are those of the place that was copied, so that images which are current stay so. `note` is told
    once of each owner that was read how old its copy is.
    """

    name = "vault"

    def __init__(self, copies: Copies, note: Callable[[str], None]) -> None:
        self._copies = copies
        self._note = note
        self._noted: set[str] = set()
        self._noting = threading.Lock()

    def place(self, owner: str) -> str:
        """Where the copied secrets are; the copy where that cannot be told."""
        copy = self._copies.usable(owner)
        return copy.place if copy else str(self._copies.file(owner))

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        """How what was copied looked; who has no copy that can be opened is left out."""
        found: dict[str, str] = {}
        errors: list[SourceError] = []
        for owner in owners:
            try:
                seen = self._copies.look(owner)
                if seen is None:
                    raise self._no_copy(owner)
            except SourceError as error:
                errors.append(error)
            except MetisError:
                continue
            else:
                found[owner] = seen
        if errors and not found:
            raise errors[0]
        return found

    def read(self, owner: str) -> Stored:
        """What is in the owner's copy; raises SourceError where none was kept."""
        copy = self._copies.read(owner)
        if copy is None:
            raise self._no_copy(owner)
        with self._noting:
            is_new = owner not in self._noted
            self._noted.add(owner)
        if is_new:
            who = "all nodes" if owner == CLUSTER else owner
            what = "secrets" if copy.stored.version else "no secrets"
            when = f"{copy.read_at:%Y-%m-%d %H:%M} UTC, {age_in_words(datetime.now(UTC) - copy.read_at)}"
            self._note(f"{who}: METIS_OFFLINE: {what} from the sealed copy of {when}")
        return copy.stored

    def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> NoReturn:
        """Raise SourceError: what is written here would be nobody's but ours."""
        names = ", ".join(sorted(changes))
        whose = "all nodes" if owner == CLUSTER else owner
        raise SourceError(
            f"offline: {names} of {whose} cannot be put into {self.place(owner)}",
            "run again without METIS_OFFLINE",
        )

    def known(self, owner: str) -> Mapping[str, Secret]:
        """What is in the owner's copy, if it can be opened."""
        copy = self._copies.usable(owner)
        return copy.stored.values if copy else {}

    def _no_copy(self, owner: str) -> SourceError:
        whose = "what all nodes share" if owner == CLUSTER else f"the secrets of {owner}"
        node = "…" if owner == CLUSTER else owner
        # Deep: an image that is current would else be taken for that by Vault's version alone.
        return SourceError(
            f"offline: there is no sealed copy of {whose}",
            f"run `metis image --deep --node {node}` without METIS_OFFLINE while Vault can be reached",
        )


def age_in_words(age: timedelta) -> str:
    """How old something is, in the largest unit that it is one of."""
    return f"{duration(age.total_seconds(), least=1)} old"
