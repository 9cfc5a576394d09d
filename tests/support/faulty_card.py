"""A card for nbdkit (nbdkit-python-plugin(3)) that keeps its bytes in a file, and fails when it is told to.

`control` is a JSON file that says what goes wrong: a `kind`, the place `at`, and whether it `lasts`. A new
file there starts the counting of bytes anew. When the fault has come, a file beside it says so.
"""

# ruff: noqa: A001, PTH116

from __future__ import annotations

import errno
import json
import os
import signal
from typing import Any

import nbdkit  # type: ignore[import-not-found]

API_VERSION = 2
BLOCK = 4096
options: dict[str, str] = {}
_open = __builtins__["open"] if isinstance(__builtins__, dict) else __builtins__.open


class Fault:
    """What goes wrong, and how many bytes were read and written since it is known."""

    def __init__(self) -> None:
        self.stamp: tuple[int, int] | None = None
        self.words: dict[str, Any] = {"kind": "none"}
        self.done = {"read": 0, "written": 0}

    def look(self) -> None:
        status = os.stat(options["control"])
        stamp = status.st_ino, status.st_mtime_ns
        if stamp != self.stamp:
            with _open(options["control"]) as file:
                self.words = json.load(file)
            self.stamp = stamp
            self.done = {"read": 0, "written": 0}

    def comes(self, what: str, count: int) -> bool:
        """Whether this transfer of so many bytes is where it goes wrong."""
        before = self.done[what]
        self.done[what] += count
        at = int(self.words["at"])
        now = before <= at < before + count or bool(self.words.get("lasts") and at < before)
        if now:
            self.tell()
        return now

    def tell(self) -> None:
        with _open(options["control"] + ".came", "w"):
            pass


fault = Fault()


def config(key: str, value: str) -> None:
    options[key] = value


def open(_readonly: bool) -> int:
    return os.open(options["file"], os.O_RDWR)


def get_size(handle: int) -> int:
    return os.fstat(handle).st_size


def flush(handle: int, _flags: int) -> None:
    pass


def fail() -> None:
    nbdkit.set_error(errno.EIO)
    raise OSError("as it was told")


def pread(handle: int, into: bytearray, offset: int, _flags: int) -> None:
    fault.look()
    if fault.words["kind"] == "read" and fault.comes("read", len(into)):
        fail()
    os.preadv(handle, [into], offset)


def pwrite(handle: int, data: bytearray, offset: int, _flags: int) -> None:
    fault.look()
    kind, at = fault.words["kind"], int(fault.words.get("at", 0))
    data = bytearray(data)
    if kind in {"stuck", "dead"}:
        if offset <= at < offset + len(data):
            fault.tell()
            spoil(handle, kind, data, offset, at)
    elif kind not in {"none", "read"} and fault.comes("written", len(data)):
        if kind == "write":
            os.pwrite(handle, data[: len(data) // 2], offset)
            fail()
        if kind == "drop":
            return
        if kind == "flip":
            data[len(data) // 3] ^= 4
        if kind == "vanish":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "kill":
            os.kill(fault.words["pid"], signal.SIGKILL)
            data = data[: len(data) // 2]
    os.pwrite(handle, data, offset)


def spoil(handle: int, kind: str, data: bytearray, offset: int, at: int) -> None:
    """A bit that never is what was written, or a block that keeps what it had."""
    if kind == "stuck":
        data[at - offset] ^= 4
        return
    start = max(at // BLOCK * BLOCK, offset)
    end = min(at // BLOCK * BLOCK + BLOCK, offset + len(data))
    data[start - offset : end - offset] = os.pread(handle, end - start, start)
