"""What an image was made from, of secrets: a keyed hash of the values that it uses, the key among the images.

Who rotates a secret that an image does not use leaves that image as it is, which no version of a whole
document could tell. Without the key nobody can find out a value by trying.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from ..errors import MetisError
from ..machine.durable import write_once
from ..secret import Secret
from . import private

KEY = "secrets-key"
KEY_BYTES = 32
SHOWN = 32
"""Hexadecimal digits of a digest."""
UNKNOWN = "unknown"
"""The digest as long as there is no key: no image was made from it."""


class UsedSecrets:
    """Gives digests of secrets (HMAC-SHA256, RFC 2104); equal for all who share the folder of the key.

    The key is made when it is first needed, unless nothing is to be changed.
    """

    def __init__(self, folder: Path, *, makes_key: bool) -> None:
        self._file = folder / KEY
        self._makes_key = makes_key

    def digest(self, names: Iterable[str], values: Mapping[str, Secret]) -> str:
        """One word for what the names stand for; a name without a value counts too."""
        key = self._key
        if key is None:
            return UNKNOWN
        used = {name: values[name].reveal() if name in values else None for name in names}
        content = json.dumps(used, sort_keys=True).encode()
        return hmac.digest(key, content, "sha256").hex()[:SHOWN]

    @cached_property
    def _key(self) -> bytes | None:
        found = private.read(self._file)
        if found is None and self._makes_key:
            write_once(self._file, os.urandom(KEY_BYTES))
            found = private.read(self._file)
        key = found.content if found else None
        if key is not None and len(key) != KEY_BYTES:
            raise MetisError(
                f"{self._file} is not a key of {KEY_BYTES} bytes",
                "remove it: all images are built again",
            )
        return key
