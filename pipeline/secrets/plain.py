"""Secrets as plain YAML, `DIR/<node>.yaml`: for a desk, and where something else seals the folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import RefusedError
from .documents import Documents, Sheet
from .folder import PLAIN, SEALED, Folder


class _AsItIs:
    def opened(self, content: bytes, _file: str) -> bytes:
        return content

    def closed(self, text: bytes) -> bytes:
        return text


def plain_folder(folder: Path) -> Documents:
    """The secrets in a folder of plain files."""
    return Documents(_PlainFolder("plain", folder, PLAIN, _AsItIs()))


class _PlainFolder(Folder):
    """Refuses to begin anew beside what was sealed: the node would get another identity than it has."""

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        found = super().versions(owners)
        return {owner: seen for owner, seen in found.items() if seen or not self._is_sealed(owner)}

    def read(self, owner: str) -> Sheet | None:
        found = super().read(owner)
        if found is None and self._is_sealed(owner):
            raise RefusedError(
                f"{self.folder / owner}{SEALED} is sealed, and there is no {owner}{PLAIN}",
                f"say METIS_SECRETS=sealed:{self.folder}",
            )
        return found

    def _is_sealed(self, owner: str) -> bool:
        return os.path.lexists(self.folder / f"{owner}{SEALED}")
