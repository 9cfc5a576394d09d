"""Secrets as files that age has sealed, `DIR/<node>.age`: the default, where there is no Vault."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import RefusedError, SourceError
from .age_keys import VARIABLE, AgeKeys
from .documents import Documents, Sheet
from .folder import PLAIN, SEALED, Folder


def sealed_folder(folder: Path, keys: AgeKeys) -> Documents:
    """The secrets in a folder of sealed files."""
    return Documents(_SealedFolder("sealed", folder, SEALED, _Sealed(folder, keys)))


class _Sealed:
    """The codec."""

    def __init__(self, folder: Path, keys: AgeKeys) -> None:
        self._folder = folder
        self._keys = keys

    def opened(self, content: bytes, file: str) -> bytes:
        return self._keys.opened(content, file)

    def closed(self, text: bytes) -> bytes:
        check_key(self._folder, self._keys)
        return self._keys.sealed(text)


def check_key(folder: Path, keys: AgeKeys) -> None:
    """Raise SourceError where the folder's key was lost, or not brought along.

    A new one would be made: half of the files would then be for each.
    """
    # Files are listed first: whoever wrote the first one meanwhile had a key before.
    has_files = any(name.endswith(SEALED) for name in _names(folder))
    if has_files and not keys.is_there():
        raise SourceError(
            f"there is no age key at {keys.file}, and {folder} was sealed with one",
            f"put it there, or name its file with {VARIABLE}; age-keygen(1) makes another",
        )


class _SealedFolder(Folder):
    """Refuses what lies there in the clear: passed over, a node would get another identity than it has.

    This very folder once had such files by default.
    """

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        plain = {name.removesuffix(PLAIN) for name in _names(self.folder) if name.endswith(PLAIN)}
        return super().versions(owner for owner in owners if owner not in plain)

    def read(self, owner: str) -> Sheet | None:
        plain = self.folder / f"{owner}{PLAIN}"
        if os.path.lexists(plain):
            raise RefusedError(f"{plain} lies in the clear", "run `metis secrets seal`")
        return super().read(owner)


def _names(folder: Path) -> list[str]:
    """What is in a folder, of which reading says later why it cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone, of each node and each run
    except OSError:
        return []
