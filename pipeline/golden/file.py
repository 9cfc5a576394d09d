"""Goldens from the file system: `file:/abs`, `file:relative` to the inventory, `file:///abs` (RFC 8089)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from ..cache.store import digest
from ..errors import SourceError, UsageError
from ..machine.progress import Reporter
from ..raw import sparse
from .source import AbsentError, TooLargeError
from .terms import Terms


class FileSource:
    """A file on this machine.

    After `file:` stands a path as it is; only the form with `//` is a URL, in which `%20` is a space.
    """

    recipe: ClassVar[None] = None
    remote: ClassVar[bool] = False

    def __init__(self, source: str, folder: Path) -> None:
        self.name = source
        rest = source.partition(":")[2]
        if rest.startswith("//"):
            url = urlsplit(source)
            if url.netloc not in {"", "localhost"}:
                raise UsageError(f"{source} names a machine", "write file:///path for a file on this one")
            rest = unquote(url.path)
        if not rest or "\0" in rest:
            raise UsageError(f"{source!r} names no file", "write file:/path, or file:path in the inventory")
        self._path = folder / rest

    @classmethod
    def opened(cls, source: str, terms: Terms) -> FileSource:
        """See `schemes.SCHEMES`."""
        return cls(source, terms.folder)

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Copy the file, its holes as holes, and hash the copy."""
        size = self._size()
        if size > limit:
            raise TooLargeError(self.name, limit, size)
        try:
            data = sparse.mapped_bytes(self._path)
            with reporter.step(f"copying {self.name}", data + size) as advance:
                sparse.copy(self._path, into, advance)
                return digest(into, advance)
        except BaseException:
            into.unlink(missing_ok=True)  # a copy starts again anyway: do not keep the room
            raise

    def _size(self) -> int:
        try:
            # A pipe or a device may never end.
            if not self._path.is_file():
                what = "is not a regular file" if self._path.exists() else "does not exist"
                raise AbsentError(f"{self._path} {what}", "check the source in the inventory")
            with self._path.open("rb"):
                return self._path.stat().st_size
        except OSError as error:
            raise SourceError(f"cannot read {self._path}: {error.strerror}") from None
