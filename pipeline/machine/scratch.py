"""Private folders for what is needed for a while only, and the sweep that removes what a kill has left.

Whoever works in such a folder holds a lock on it, which the kernel gives back when they die (flock(2)): so a
sweep knows what is left from what is in use.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .durable import PART, lock_now, make_private


@contextmanager
def scratch(place: Path, purpose: str, note: Callable[[str], None]) -> Iterator[Path]:
    """Yield a new folder of mode 0700 in `place`, which is gone afterwards; so is what a kill has left.

    Where one cannot be removed, `note` is told: what is in it are secrets.
    """
    for left in make_private(place).glob(f".*{PART}"):
        _remove_if_left(left, note)
    folder, lock = _made(place, purpose)
    try:
        yield folder
    finally:
        _remove(folder, note)
        os.close(lock)


def sweep(root: Path, leave_out: Path) -> None:
    """Remove what is not finished below a folder, but what is below `leave_out` or in a folder in use."""
    for folder, inner, files in os.walk(root):
        here = Path(folder)
        if leave_out in {here, *here.parents}:
            inner.clear()
            continue
        for name in filter(_is_part, files):
            (here / name).unlink(missing_ok=True)
        for name in filter(_is_part, inner):
            _remove_if_left(here / name)
        inner[:] = [name for name in inner if not _is_part(name)]


def _is_part(name: str) -> bool:
    return name.endswith(PART)


def _made(place: Path, purpose: str) -> tuple[Path, int]:
    """A new folder and its lock; a sweep that came in between has removed it, and another one is made."""
    import fcntl

    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{purpose}-", suffix=PART, dir=place))
        with suppress(FileNotFoundError):
            lock = _opened(folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _remove_if_left(folder: Path, note: Callable[[str], None] = lambda _line: None) -> None:
    with suppress(OSError):  # no folder
        lock = _opened(folder)
        try:
            if lock_now(lock):
                _remove(folder, note)
        finally:
            os.close(lock)


def _remove(folder: Path, note: Callable[[str], None]) -> None:
    """Remove as much as can be."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        note(f"{folder} could not be removed, and may hold secrets: remove it")


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
