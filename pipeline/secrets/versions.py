"""Versions of secret content that say nothing of it: a keyed hash, its key in the same folder."""

from __future__ import annotations

import hmac
import os
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from ..durable import make_private
from ..errors import MetisError
from . import private

KEY = ".version-key"
KEY_BYTES = 32
SHOWN = 32
"""Hexadecimal digits of a version."""
UNKNOWN = "unknown"
"""The version of content as long as there is no key: no image was made from it."""


class Versions:
    """Gives versions of content (HMAC-SHA256, RFC 2104); equal for all who share the folder of the key.

    The key is made when it is first needed, unless nothing is to be changed.
    """

    def __init__(self, folder: Path, *, makes_key: bool) -> None:
        self._file = folder / KEY
        self._makes_key = makes_key

    def of(self, content: bytes) -> str:
        """The version of content: a few words of hexadecimal digits."""
        key = self._key
        return UNKNOWN if key is None else hmac.digest(key, content, "sha256").hex()[:SHOWN]

    @cached_property
    def _key(self) -> bytes | None:
        key = private.read(self._file)
        if key is None and self._makes_key:
            self._make()
            key = private.read(self._file)
        if key is not None and len(key) != KEY_BYTES:
            raise MetisError(
                f"{self._file} is not a key of {KEY_BYTES} bytes",
                "remove it: all images are built again",
            )
        return key

    def _make(self) -> None:
        """A link is made or is there already: who comes second takes the key of the first."""
        folder = make_private(self._file.parent)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{KEY}.") as part:
            part.write(os.urandom(KEY_BYTES))
            part.flush()
            os.fsync(part.fileno())
            with suppress(FileExistsError):
                self._file.hardlink_to(part.name)
