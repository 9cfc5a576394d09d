"""A source that keeps a sheet of YAML for each owner; whoever keeps the sheets does not know what is on them.

What a sheet says is `node_file`'s. Folders of files keep sheets (`folder`), and other programs can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..errors import MetisError
from ..secret import Secret
from .source import NOTHING, ConflictError, Stored


@dataclass(frozen=True, slots=True)
class Sheet:
    """An owner's YAML, its version, and when that was written (UTC), if that is known; see `Stored`."""

    content: bytes
    version: str
    changed: datetime | None = None


class Sheets(Protocol):
    """Keeps sheets on this machine. Owners, errors, places and versions are as `SecretSource` has them."""

    @property
    def name(self) -> str:
        """What kind of source it is."""

    def place(self, owner: str) -> str:
        """Where the owner's sheet is, in words for a message."""

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        """How the owners' sheets look now."""

    def read(self, owner: str) -> Sheet | None:
        """An owner's sheet; None where there is none."""

    def writing(self) -> AbstractContextManager[object]:
        """Keeps others from writing while the block runs."""

    def write(self, owner: str, content: bytes) -> None:
        """Replace the owner's sheet as a whole, or not at all."""


class Documents:
    """The source over such sheets; all of it is at hand."""

    def __init__(self, sheets: Sheets) -> None:
        self.name = sheets.name
        self.place = sheets.place
        self.versions = sheets.versions
        self._sheets = sheets

    def read(self, owner: str) -> Stored:
        """What the owner's sheet says."""
        return self._read(owner)[0]

    def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> None:
        """Write the owner's sheet anew, one writer at a time."""
        from .node_file import with_changes

        with self._sheets.writing():
            stored, content = self._read(owner)
            if stored.version != version:
                raise ConflictError(f"{self.place(owner)} was changed meanwhile", "run again")
            self._sheets.write(owner, with_changes(content, changes, self.place(owner)))

    def known(self, owner: str) -> Mapping[str, Secret]:
        """All of it; what cannot be read is none of this question's concern."""
        try:
            return self.read(owner).values
        except MetisError:
            return {}

    def _read(self, owner: str) -> tuple[Stored, bytes]:
        from .node_file import values_of

        sheet = self._sheets.read(owner)
        if sheet is None:
            return NOTHING, b""
        values = values_of(sheet.content, self.place(owner))
        return Stored(values, sheet.version, sheet.changed), sheet.content
