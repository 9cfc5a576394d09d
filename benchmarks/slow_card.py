"""A card that reads and writes at given rates: a block device, of a file that an NBD server exports.

This file is also the server's plugin (nbdkit-python-plugin(3)), which knows nothing but the standard library.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

API_VERSION = 2
BURST = 0.05
"""Seconds: how far a card may have got ahead by what its own buffers take."""
WAIT = 30.0

_settings: dict[str, str] = {}
_state: dict[str, Any] = {"free": 0.0}


@contextmanager
def attached(medium: Path, folder: Path, *, read: float, write: float) -> Iterator[str]:
    """The block device while the block runs; rates are in bytes per second."""
    from pipeline import process

    point = folder / "slow-card"
    point.touch()
    plugin = [str(Path(__file__).resolve()), f"medium={medium}", f"read={read}", f"write={write}"]
    words = ["nbdfuse", str(point), "--command", "nbdkit", "-s", "--exit-with-parent", "python", *plugin]
    with process.background(words, folder / "slow-card.log") as server:
        deadline = time.monotonic() + WAIT
        while point.stat().st_size == 0:
            if not server.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"no slow card: {server.last_words}")
            time.sleep(0.05)
        # Directly: what is read comes from the server, and not from memory.
        device = process.run(["losetup", "--find", "--show", "--direct-io=on", point]).out.decode().strip()
        try:
            yield device
        finally:
            process.run(["losetup", "--detach", device])
            process.run(["fusermount3", "-u", point], check=False)


# ------------------------------------------------------------------------------------- what nbdkit calls


def config(key: str, value: str) -> None:
    _settings[key] = value


def open(readonly: bool) -> int:  # noqa: A001 - nbdkit's name
    return os.open(_settings["medium"], os.O_RDWR)


def get_size(handle: int) -> int:
    return os.fstat(handle).st_size


def can_flush(handle: int) -> bool:
    return True


def flush(handle: int, flags: int) -> None:
    pass


def pread(handle: int, into: bytearray, offset: int, flags: int) -> None:
    os.preadv(handle, [into], offset)
    _take_time("read", len(into))


def pwrite(handle: int, data: bytes, offset: int, flags: int) -> None:
    os.pwrite(handle, data, offset)
    _take_time("write", len(data))


def _take_time(kind: str, count: int) -> None:
    begun = max(time.monotonic() - BURST, _state["free"])
    _state["free"] = begun + count / float(_settings[kind])
    time.sleep(max(0.0, _state["free"] - time.monotonic()))
