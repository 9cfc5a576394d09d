"""A file that arrives in pieces: its bytes, their hash, and which version of the file they belong to.

The version stands in a side file, so that another process can go on after a break. It is what the server
calls it (RFC 9110, 8.8): without a name for its version, a file is begun again.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..machine import durable
from ..machine.progress import Reporter
from ..raw.sparse import CHUNK
from .source import TooLargeError


class Partial(AbstractContextManager["Partial"]):
    """The bytes that have arrived in `into` from `name`, which is a URL without its query.

    `size` is how many bytes are here, `total` how many there will be, None where the server did not say.
    `validator` is the server's name for the version, empty where it has none. With `any_host` the bytes that
    another one has sent are gone on with, whatever this one calls the version: `is_shared` until it is begun
    again. There are never more than `limit` bytes here: TooLargeError is raised before.
    """

    def __init__(
        self, into: Path, name: str, reporter: Reporter, limit: int, *, any_host: bool = False
    ) -> None:
        self._into = into
        self._name = name
        self._any_host = any_host
        self.is_shared = False
        self._limit = limit
        self._side = into.with_name(f"{into.name}.json")
        self._file = os.fdopen(
            os.open(into, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0
        )
        self._hash = hashlib.sha256()
        self.size = 0
        self.total: int | None = None
        self.validator = ""
        self._recall(reporter)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if error and not self.size:  # nothing to go on from
            self._into.unlink(missing_ok=True)
            self._side.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The hash of the bytes that are here."""
        return self._hash.hexdigest()

    @property
    def whole(self) -> bool:
        """Whether all the bytes are here; never, while their number is not known."""
        return self.size == self.total

    def begin(self, validator: str, total: int | None) -> None:
        """Forget the bytes that are here, and expect those of another version."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size, self.total, self.validator = 0, total, validator
        self.is_shared = False
        if total is not None and total > self._limit:
            raise TooLargeError(self._name, self._limit, total)
        durable.write(
            self._side, durable.as_json({"name": self._name, "total": total, "validator": validator})
        )

    def append(self, data: bytes) -> None:
        """Write the next bytes."""
        if self.size + len(data) > self._limit:
            raise TooLargeError(self._name, self._limit)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self._hash.update(data)
        self.size += len(data)

    def _recall(self, reporter: Reporter) -> None:
        """Go on with what an earlier process left, if its version has a name."""
        side = self._read_side()
        here = os.fstat(self._file.fileno()).st_size
        total = side.get("total")
        is_own = side.get("name") == self._name and bool(side.get("validator"))
        if not here or not (is_own or self._any_host):
            return
        if total is not None and (not isinstance(total, int) or here > total):
            return
        if max(here, total or 0) > self._limit:
            return
        with reporter.step(f"checking what has arrived of {self._name}", here) as advance:
            while data := self._file.read(CHUNK):
                self._hash.update(data)
                self.size += len(data)
                advance(len(data))
        self.total, self.is_shared = total, not is_own
        self.validator = side["validator"] if is_own else ""

    def _read_side(self) -> dict[str, Any]:
        try:
            found = json.loads(self._side.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
