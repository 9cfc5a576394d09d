"""The port to where secrets are kept: documents of named values, one for each node and one for all.

A source knows documents alone; what a node's own values and the shared ones come to is in `keyring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..errors import SourceError
from ..secret import Secret

CLUSTER = "_cluster"
"""The owner of what all nodes share; no node's name begins so."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept for one owner: its values by name (`k3s_token`, `extra.machine_id`), and their version.

    A version says nothing of the values, may be shown and written down, and changes whenever one of them
    does; it is empty where there is nothing yet. `changed` is when that version was written (UTC), if that
    is known.
    """

    values: Mapping[str, Secret]
    version: str
    changed: datetime | None = None


NOTHING = Stored({}, "")


def look(version: str, changed: datetime | None) -> str:
    """How a document looks, as one word: a version that is counted says too little.

    Counting begins anew where a document was wiped out, where a backup was put back, and in another place.
    """
    return f"{version} of {changed.isoformat()}" if version and changed else version


class ConflictError(SourceError):
    """Somebody else wrote the same secrets meanwhile: read them again."""


class SecretSource(Protocol):
    """Keeps secrets. Owners are the names of nodes, and CLUSTER.

    All methods may be called from several threads, and raise SourceError where the source cannot be
    reached or denies the owner, MismatchError where what is kept was altered, RefusedError where others
    could have read it, and SecretError where it is no document of secrets. No error holds a value.
    """

    @property
    def name(self) -> str:
        """What kind of source it is: versions of one kind mean nothing to another."""

    def place(self, owner: str) -> str:
        """Where an operator finds and puts an owner's secrets, in words for a message."""

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        """How owners' secrets look now, without reading values where that can be.

        Where they look as they did, their values are the same; empty is for nothing yet. An owner is left
        out of whom it cannot be told; to read it says why. Raises SourceError where that holds for all.
        """

    def read(self, owner: str) -> Stored:
        """An owner's secrets; NOTHING where the source does not know the owner."""

    def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> None:
        """Add or replace values; the others stay as they are.

        Raises ConflictError, with nothing written, where the owner's secrets are not of this version any
        more (compare-and-set).
        """

    def known(self, owner: str) -> Mapping[str, Secret]:
        """An owner's values as far as this machine has them at hand; nothing is asked of another one."""
