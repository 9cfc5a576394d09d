"""Sheets as files of one folder, one for each owner, private to whoever runs Metis.

How a file's bytes become the YAML, and back, is its codec's: see `plain` and `sealed`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ..cache.store import stamp_of
from ..errors import RefusedError
from ..machine import durable
from . import private
from .documents import Sheet

PLAIN, SEALED = ".yaml", ".age"
"""The endings of files in the clear, and of those that age has sealed."""
MISNAMED = ".yml"
"""What some call YAML."""
SHOWN = 12
"""Hexadecimal digits of a version."""


class Codec(Protocol):
    """Turns the bytes of a file into YAML, and back; `file` is what errors call it."""

    def opened(self, content: bytes, file: str) -> bytes:
        """The YAML in a file."""

    def closed(self, text: bytes) -> bytes:
        """What is written for it."""


class Folder:
    """The folder; it is made with the first sheet."""

    def __init__(self, name: str, folder: Path, suffix: str, codec: Codec) -> None:
        self.name = name
        self.folder = folder
        self._suffix = suffix
        self._codec = codec

    def place(self, owner: str) -> str:
        """The owner's file."""
        return str(self.file(owner))

    def file(self, owner: str) -> Path:
        """The owner's file."""
        return self.folder / f"{owner}{self._suffix}"

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        """How the files look: their size, times and inode, as one word."""
        found = {}
        for owner in owners:
            try:
                status = os.stat(self.file(owner), follow_symlinks=False)  # noqa: PTH116 - for each node of each run
            except FileNotFoundError:
                found[owner] = ""
            except OSError:
                continue
            else:
                found[owner] = version_of(status)
        return found

    def read(self, owner: str) -> Sheet | None:
        """What is in the owner's file."""
        file = self.file(owner)
        found = private.read(file)
        if found is None:
            self._refuse_misnamed(owner)
            return None
        content = self._codec.opened(found.content, str(file))
        return Sheet(content, version_of(found.status), datetime.fromtimestamp(found.status.st_mtime, UTC))

    def writing(self) -> AbstractContextManager[None]:
        """Hold the folder's lock."""
        return durable.locked(self.folder / ".lock", lambda _holder: None)

    def write(self, owner: str, content: bytes) -> None:
        """Write the owner's file anew."""
        durable.write(self.file(owner), self._codec.closed(content))

    def _refuse_misnamed(self, owner: str) -> None:
        """Raise RefusedError for what was meant: passed over, a node would get another identity."""
        misnamed = self.folder / f"{owner}{MISNAMED}"
        if os.path.lexists(misnamed):
            raise RefusedError(f"{misnamed} is not read", f"name it {owner}{PLAIN}")


def version_of(status: os.stat_result) -> str:
    """A word for how a file looks; who replaces or edits it changes that."""
    looks = ",".join(map(str, stamp_of(status).values()))
    return hashlib.sha256(looks.encode()).hexdigest()[:SHOWN]
