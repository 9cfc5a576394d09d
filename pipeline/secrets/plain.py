"""Secrets as plain YAML, `DIR/<node>.yaml`: for a desk, and where something else seals the folder."""

from __future__ import annotations

from pathlib import Path

from .folder import Folder


class _AsItIs:
    def opened(self, content: bytes, _file: str) -> bytes:
        return content

    def closed(self, text: bytes) -> bytes:
        return text


def plain_folder(folder: Path) -> Folder:
    """The folder of plain files."""
    return Folder("plain", folder, ".yaml", _AsItIs())
