"""Secrets as plain files, `DIR/<node>.yaml`, private to their owner: for a desk, and where Vault is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import durable
from . import private
from .secret import Secret
from .source import ConflictError, NodeSecrets
from .versions import Versions


class PlainFolder:
    """The folder of plain files; it is made with the first secret, and only if we `may_write`."""

    name = "plain"

    def __init__(self, folder: Path, *, may_write: bool) -> None:
        self._folder = folder
        self._versions = Versions(folder, makes_key=may_write)

    def place(self, node: str) -> str:
        """Where an operator puts a node's secrets."""
        return str(self._file(node))

    def version(self, node: str) -> str:
        """The keyed hash of the file, so that a comment in it is a change too; empty for no file."""
        return self._version(private.read(self._file(node)))

    def read(self, node: str) -> NodeSecrets:
        """A node's secrets, all of them texts; none where there is no file."""
        from .node_file import values_of

        content = private.read(self._file(node))
        values = {} if content is None else values_of(content, self.place(node))
        return NodeSecrets(values, self._version(content))

    def add(self, node: str, missing: Mapping[str, Secret], version: str) -> None:
        """Put in what is missing, as one new file in the old one's place."""
        from .node_file import with_added

        file = self._file(node)
        with durable.locked(self._folder / ".lock", lambda _holder: None):
            content = private.read(file)
            if self._version(content) != version:
                raise ConflictError(f"{file} was changed meanwhile", "run again")
            durable.write(file, with_added(content or b"", missing, self.place(node)))

    def _file(self, node: str) -> Path:
        return self._folder / f"{node}.yaml"

    def _version(self, content: bytes | None) -> str:
        return "" if content is None else self._versions.of(content)
