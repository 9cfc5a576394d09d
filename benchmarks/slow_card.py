"""A card for nbdkit (nbdkit-python-plugin(3)) that reads and writes a file at given rates.

`medium` is the file; `read` and `write` are bytes per second.
"""

from __future__ import annotations

import os
import time
from typing import Any

API_VERSION = 2
BURST = 0.05
"""Seconds: how far a card may have got ahead by what its own buffers take."""

_settings: dict[str, str] = {}
_state: dict[str, Any] = {"free": 0.0}


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
